"""What more images would bring: the power law of a learning curve, extrapolated, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.learning_curves.power_law import PowerLaws, fit_power_laws
from transfer_cli.learning_curves.scores import SubsetScores
from transfer_cli.metrics.intervals import CONFIDENCE, MetricValue

_LEAST_SIZES = 4
"""A power law has three parameters."""
_LEAST_NOISE = 1e-3
"""Standard error of a size whose accuracy is the same in all resamples, such as 1."""
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_FAR = 4.0
"""From this multiple of the images that there are, a forecast is a rough guess."""


@dataclass(frozen=True)
class Extrapolation:
    """The power law of a curve, and the laws of bootstrap resamples.

    Attributes
    ----------
    law : PowerLaws
        One law.
    resampled : PowerLaws
    """

    law: PowerLaws
    resampled: PowerLaws

    @classmethod
    def of(cls, scores: SubsetScores, resampled: NDArray[np.float64]) -> Extrapolation:
        """Fit the power laws.

        Parameters
        ----------
        scores : SubsetScores
        resampled : ndarray of shape (resamples, sizes), float64
            Accuracies.
        """
        noise = np.maximum(resampled.std(axis=0, ddof=1), _LEAST_NOISE)
        errors = np.array([[1 - each["value"] for each in scores.accuracies()]])
        fitted = (fit_power_laws(scores.images, each, noise) for each in (errors, 1 - resampled))
        return cls(*fitted)

    def accuracy(self, images: float) -> float:
        """Return the accuracy by the law after training on some images."""
        return 1 - float(self.law.errors(np.array([images]))[0, 0])

    def gain(self, before: float, after: float) -> MetricValue:
        """Return the rise of the accuracy between two numbers of images, with its 95 % interval."""
        images = np.array([before, after])
        [value], gains = (-np.diff(laws.errors(images))[:, 0] for laws in (self.law, self.resampled))
        low, high = np.quantile(gains, _TAILS)
        # The gains are skewed: their interval may leave out that of the law itself.
        return {"value": float(value), "low": min(float(low), float(value)), "high": max(float(high), float(value))}

    def band(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the low bound, the value and the high bound of the accuracy, shape (3, n)."""
        low, high = np.quantile(1 - self.resampled.errors(images), _TAILS, axis=0)
        return np.stack([low, 1 - self.law.errors(images)[0], high])


@dataclass(frozen=True)
class Forecast:
    """The expected accuracy with more images.

    Attributes
    ----------
    more_per_class : int
    images_now, images : float
        Training images that there are, and with the additional ones.
    accuracy_now, accuracy : float
        Expected with these numbers of images.
    gain : MetricValue
        Their difference, with its interval.
    """

    more_per_class: int
    images_now: float
    images: float
    accuracy_now: float
    accuracy: float
    gain: MetricValue

    @classmethod
    def of(cls, extrapolation: Extrapolation, images: int, images_per_class: float, more: int) -> Forecast:
        """Return the forecast for `more` images per class beside the `images` that there are."""
        after = images * (images_per_class + more) / images_per_class
        accuracies = (extrapolation.accuracy(images), extrapolation.accuracy(after))
        return cls(more, images, after, *accuracies, extrapolation.gain(images, after))

    def summary(self) -> str:
        """Return the forecast as one sentence."""
        more = f"{self.more_per_class:,} more images per class would probably"
        low, high = (f"{100 * (self.gain[bound] or 0.0):.1f}" for bound in ("low", "high"))
        gain = f"between {low} and {high}" if low != "0.0" else f"at most {high}"
        text = f"{more} raise the accuracy by {gain} points, from {self.accuracy_now:.3f} to about {self.accuracy:.3f}"
        if high == "0.0":
            text = f"{more} leave the accuracy at about {self.accuracy_now:.3f}"
        times = self.images / self.images_now
        return f"{text} (a rough guess: that is {times:.0f} times the images)" if times > _FAR else text


def obstacle(scores: SubsetScores, resampled: NDArray[np.float64]) -> str:
    """Return why nothing can be said about more images; empty if it can.

    Parameters
    ----------
    scores : SubsetScores
    resampled : ndarray of shape (resamples, sizes), float64
        Accuracies.
    """
    sizes = len(scores.images)
    if sizes < _LEAST_SIZES:
        return (
            f"{sizes} different sizes are too few to extrapolate from. Expected at least {_LEAST_SIZES}: add images, "
            "or smaller groups"
        )
    if np.quantile(resampled[:, -1] - resampled[:, 0], _TAILS[0]) <= 0:
        few, many = (f"{each:.0f}" for each in scores.images[[0, -1]])
        return (
            f"the curve is flat: from {few} to {many} images the accuracy does not rise more than its margin of error, "
            "so these images do not show what more of them would bring"
        )
    return ""
