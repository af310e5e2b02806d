"""The interval of the expected calibration error."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.intervals import CONFIDENCE, MetricValue
from transfer_cli.metrics.scores import BINS, Probabilities, Truth, bins_of, calibration_error

_DRAWS = 300
_STEPS = np.linspace(0, 1, 21) ** 2
_SHRINKAGES = (0, 1, 2, 3)
"""Standard errors by which the observed gaps are reduced: small ones are noise."""
Floats = NDArray[np.float64]


def calibration_interval(truth: Truth, probabilities: Probabilities, seed: int = 0) -> MetricValue:
    """Return the expected calibration error of a single-label task (`scores.calibration_error`) with its interval.

    Noise makes the observed error of few images larger than the true one, so that a bootstrap interval would lie above
    it. This interval inverts a test: it holds the true errors for which 95 % of simulated parts have an observed error
    like this one. How the error is distributed over the bins is unknown; the widest interval of several patterns
    counts: equal in all bins, or as observed, with small gaps reduced. In simulations with 40 to 4000 images it covered
    the true error in 94 to 99 % of the cases.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
    probabilities : ndarray of shape (n, k), float
    seed : int
        Of the simulations.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = bins_of(confidence)
    images = np.bincount(bins, minlength=BINS)
    used = images > 0
    expected: Floats = np.bincount(bins, confidence, BINS)[used].astype(np.float64)
    correct = np.bincount(bins, probabilities.argmax(axis=1) == truth, BINS)[used]
    images = images[used]
    observed = calibration_error(truth, probabilities)
    random = np.random.default_rng(seed)
    low = high = observed
    for pattern in _patterns(images, expected / images, correct / images):
        one, other = _bounds(observed, images, expected, pattern, random)
        low, high = min(low, one), max(high, other)
    return {"value": observed, "low": low, "high": high}


def _patterns(images: NDArray[np.int64], confidence: Floats, accuracy: Floats) -> Iterator[Floats]:
    """Yield differences between accuracy and confidence per bin, the largest of each pattern 1."""
    gap = accuracy - confidence
    sign = np.where(gap >= 0, 1.0, -1.0)
    yield from (sign, -sign)  # the other sign matters where an accuracy would exceed 1
    error = np.sqrt(np.maximum(confidence * (1 - confidence), 1e-4) / images)
    for count in _SHRINKAGES:
        reduced = np.maximum(np.abs(gap) - count * error, 0)
        if reduced.any():
            yield sign * reduced / reduced.max()


def _bounds(
    observed: float, images: NDArray[np.int64], expected: Floats, pattern: Floats, random: np.random.Generator
) -> tuple[float, float]:
    """Return the smallest and the largest true error, distributed by a pattern, that may give the observed one."""
    confidence, total = expected / images, images.sum()
    true, lowest, highest = [], [], []
    for step in _STEPS:
        accuracy = np.clip(confidence + step * pattern, 0, 1)
        true.append(float((images * np.abs(accuracy - confidence)).sum() / total))
        errors = np.abs(random.binomial(images, accuracy, (_DRAWS, len(images))) - expected).sum(axis=1) / total
        least, most = np.quantile(errors, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        lowest.append(least)
        highest.append(most)
        if least > observed:
            break
    bounds = (np.interp(observed, np.maximum.accumulate(ends), true) for ends in (highest, lowest))
    return float(next(bounds)), float(next(bounds))
