"""The accuracy of a model under perturbations of the images, beside that on the images as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.perturbations import PERTURBATIONS, VARIANTS, Perturbation
from transfer_cli.io.atomic import atomic_write
from transfer_cli.metrics.intervals import MetricValue, Resamples, bootstrap_interval, points_summary, proportion
from transfer_cli.rendering.png_provenance import EVALUATE
from transfer_cli.text import counted

_DIGITS = 6
HEADER = ("perturbation", "strength", "accuracy", "low", "high", "difference", "difference_low", "difference_high")


@dataclass(frozen=True)
class PerturbedAccuracy:
    """The accuracy under one perturbation.

    Attributes
    ----------
    perturbation : str
    strength : float
    strength_text : str
        With its unit.
    accuracy : MetricValue
        With Wilson's interval; multi-label: the share of images with all labels correct.
    difference : MetricValue
        To the accuracy on the same images as they are, with a paired bootstrap interval.
    """

    perturbation: str
    strength: float
    strength_text: str
    accuracy: MetricValue
    difference: MetricValue


@dataclass(frozen=True)
class Robustness:
    """The accuracy of a model under all perturbations.

    Attributes
    ----------
    part : str
    images : int
    seed : int
    accuracy : MetricValue
        On the images as they are.
    rows : tuple of PerturbedAccuracy
    """

    part: str
    images: int
    seed: int
    accuracy: MetricValue
    rows: tuple[PerturbedAccuracy, ...]

    @classmethod
    def of(
        cls,
        part: str,
        seed: int,
        truth: NDArray[np.int64],
        clean: NDArray[Any],
        perturbed: Sequence[NDArray[Any]],
    ) -> Robustness:
        """Compare predictions.

        Parameters
        ----------
        part : str
        seed : int
        truth : ndarray of shape (n,) or (n, k), int
            Column of the true class of each image, or the indicator matrix of its labels.
        clean : ndarray of shape (n,), int, or (n, k), bool
            Predicted column or labels of each image as it is.
        perturbed : sequence of ndarray
            The same for each of `catalog.perturbations.VARIANTS`.
        """
        correct = np.stack([_correct(truth, predicted) for predicted in (clean, *perturbed)])
        changes = (correct[1:].astype(np.float32) - correct[0]).astype(np.float32)
        images = correct.shape[1]
        replicates = np.concatenate([changes @ block for block in Resamples(images, seed=seed).blocks()], axis=1)
        each = zip(VARIANTS, correct[1:], changes, replicates, strict=True)
        rows = [
            PerturbedAccuracy(
                row.name,
                strength,
                row.strength_text(strength),
                proportion(int(right.sum()), images),
                _difference(change, replicate / images),
            )
            for (row, strength), right, change, replicate in each
        ]
        return cls(part, images, seed, proportion(int(correct[0].sum()), images), tuple(rows))

    def of_perturbation(self, perturbation: Perturbation) -> tuple[PerturbedAccuracy, ...]:
        """Return the rows of one kind, in the order of its strengths."""
        return tuple(row for row in self.rows if row.perturbation == perturbation.name)

    def summary(self) -> list[str]:
        """Return a line for each kind of perturbation: the accuracy at each strength, and the largest difference."""
        lines = [f"accuracy on {self.part} without perturbation {self.accuracy['value']:.3f} (n = {self.images:,})"]
        for perturbation in PERTURBATIONS:
            rows = self.of_perturbation(perturbation)
            values = ", ".join(f"{row.strength_text} {row.accuracy['value']:.3f}" for row in rows)
            worst = min(rows, key=lambda row: row.difference["value"])
            lines.append(
                f"{perturbation.name:8} {values}; at {worst.strength_text}: {points_summary(worst.difference)}"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        return asdict(self)

    def table(self) -> list[tuple[object, ...]]:
        """Return the rows of the table with the columns `HEADER`."""
        return [(row.perturbation, row.strength, *_cells(row.accuracy), *_cells(row.difference)) for row in self.rows]

    def plot(self, target: Path) -> None:
        """Draw the accuracy against the strength of each kind of perturbation, with 95 % intervals, as a PNG file."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 6), layout="constrained")
        panels = figure.subplots(2, 4, sharey=True).ravel()
        for panel, perturbation in zip(panels, PERTURBATIONS, strict=False):
            rows, weaker = self.of_perturbation(perturbation), perturbation.below_neutral
            values = [row.accuracy for row in rows]
            values.insert(weaker, self.accuracy)
            names = [row.strength_text.removeprefix("quality ") for row in rows]
            names.insert(weaker, "none")
            places, height = range(len(values)), [each["value"] for each in values]
            low = [each["value"] - (each["low"] or 0.0) for each in values]
            high = [(1.0 if each["high"] is None else each["high"]) - each["value"] for each in values]
            panel.axhline(self.accuracy["value"], color="grey", linestyle=":", linewidth=1)
            panel.errorbar(places, height, [low, high], fmt="o-", color="tab:blue", ecolor="black", capsize=3)
            panel.set_xticks(places, names)
            panel.set_title(
                f"{perturbation.name} (quality)" if "quality" in rows[0].strength_text else perturbation.name
            )
            panel.set_ylim(0, 1.02)
        for panel in panels[len(PERTURBATIONS) :]:
            panel.set_axis_off()
            panel.text(0, 0.5, f"accuracy on {self.part}\n{counted(self.images, 'image')}\n95 % intervals", va="center")
        with atomic_write(target) as draft:
            figure.savefig(draft, dpi=100, metadata={"Software": EVALUATE})


def _correct(truth: NDArray[np.int64], predicted: NDArray[Any]) -> NDArray[np.bool_]:
    if truth.ndim == 1:
        return np.asarray(predicted == truth, bool)
    return np.asarray((predicted == (truth > 0)).all(axis=1), bool)


def _difference(change: NDArray[np.float32], replicates: NDArray[np.floating[Any]]) -> MetricValue:
    value = float(change.mean(dtype=np.float64))
    low, high = bootstrap_interval(replicates.astype(np.float64), len(change), value)
    return {"value": value, "low": low, "high": high}


def _cells(metric: MetricValue) -> list[object]:
    values = (metric["value"], metric["low"], metric["high"])
    return ["" if value is None else round(value, _DIGITS) for value in values]
