"""The result of a learning curve: accuracy by number of training images, and a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.data.skipped import Skipped
from transfer_cli.learning_curves.forecast import Extrapolation, Forecast
from transfer_cli.metrics.intervals import MetricValue


@dataclass(frozen=True)
class CurvePoint:
    """The accuracy after training on a number of images.

    Attributes
    ----------
    images, images_per_class : float
        Mean over folds and repeats.
    accuracy : MetricValue
        Out of fold; for multi-label, the share of images with all labels correct.
    """

    images: float
    images_per_class: float
    accuracy: MetricValue


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy by number of training images.

    Attributes
    ----------
    source : Path
        The image folder.
    images : int
        Number of images outside the test set.
    images_per_class : float
        Their mean number per class.
    classes, repeats, seed : int
    points : tuple of CurvePoint
        Ascending by number of images.
    extrapolation : Extrapolation or None
        The power law; None if there is an obstacle.
    forecast : Forecast or None
    obstacle : str
        Why there is no forecast; empty if there is one.
    skipped : tuple of Skipped
        Files outside the test set that could not be read.
    """

    source: Path
    images: int
    images_per_class: float
    classes: int
    repeats: int
    seed: int
    points: tuple[CurvePoint, ...]
    extrapolation: Extrapolation | None
    forecast: Forecast | None
    obstacle: str
    skipped: tuple[Skipped, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        facts = ("images", "images_per_class", "classes", "repeats", "seed")
        law = self.extrapolation and self.extrapolation.law
        return {
            "folder": str(self.source.resolve()),
            **{name: getattr(self, name) for name in facts},
            "points": [vars(point) for point in self.points],
            "power_law": law and {name: float(values[0]) for name, values in vars(law).items()},
            "forecast": self.forecast and vars(self.forecast),
            "obstacle": self.obstacle,
            "skipped": [vars(item) for item in self.skipped],
        }
