"""95 % confidence intervals of metrics: Wilson for shares, bootstrap for the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from statistics import NormalDist
from typing import Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_WEIGHTS_PER_BLOCK = 400_000
"""Weights drawn at a time: they fit into the CPU cache, and memory does not grow with the part."""
_MAX_RESAMPLES, _MIN_RESAMPLES, _MAX_WORK = 1000, 200, 2_000_000_000
_NO_WIDTH = 1e-12
Scale = Literal["percentile", "log", "logit"]
PERCENTILE: Scale = "percentile"
LOG: Scale = "log"
LOGIT: Scale = "logit"


class MetricValue(TypedDict):
    """The value of a metric and its 95 % confidence interval; None if it has no interval.

    A metric that says nothing is NaN (in files null), with the reason.
    """

    value: float
    low: float | None
    high: float | None
    reason: NotRequired[str]


def exact_value(value: float) -> MetricValue:
    """Return a value without an interval."""
    return {"value": float(value), "low": None, "high": None}


def undefined(reason: str) -> MetricValue:
    """Return the value of a metric that says nothing, and why."""
    return {"value": float("nan"), "low": None, "high": None, "reason": reason}


def is_undefined(metric: MetricValue) -> bool:
    """Return whether a metric says nothing."""
    return isnan(metric["value"])


def proportion(right: float, count: int) -> MetricValue:
    """Return ``right / count`` with Wilson's interval (Wilson 1927), which is valid for any number of images.

    Of several classifiers on the same images, `right` is their mean.

    Examples
    --------
    >>> proportion(8, 10)
    {'value': 0.8, 'low': 0.490162..., 'high': 0.943317...}
    """
    share = right / count
    middle = share + _Z**2 / (2 * count)
    half = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    low, high = ((middle + side * half) / (1 + _Z**2 / count) for side in (-1, 1))
    # Rounding could give a bound slightly beside 0 or 1.
    return {"value": share, "low": float(low) if right else 0.0, "high": float(high) if right < count else 1.0}


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples (Efron 1979): images drawn with replacement, as many as there are.

    Two models are compared on the same resamples: the same seed gives the same resamples.

    Attributes
    ----------
    images : int
    count : int
    seed : int
    """

    images: int
    count: int = _MAX_RESAMPLES
    seed: int = 0

    @classmethod
    def affordable(cls, images: int, classes: int, seed: int = 0) -> Resamples:
        """Return 1000 resamples; fewer, down to 200, for a part so large that 1000 would take minutes."""
        count = max(_MIN_RESAMPLES, min(_MAX_RESAMPLES, _MAX_WORK // max(1, images * classes)))
        return cls(images, count, seed)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield how often each image was drawn, shape (images, resamples of the block)."""
        random, images = np.random.default_rng(self.seed), self.images
        at_once = max(1, min(self.count, _WEIGHTS_PER_BLOCK // images))
        for begin in range(0, self.count, at_once):
            block = min(at_once, self.count - begin)
            drawn = random.integers(0, images, (block, images)) + np.arange(block)[:, None] * images
            times = np.bincount(drawn.ravel(), minlength=block * images).reshape(block, images)
            yield np.ascontiguousarray(times.T, np.float32)


def bootstrap_interval(
    replicates: NDArray[np.float64], images: int, value: float, scale: Scale = PERCENTILE
) -> tuple[float | None, float | None]:
    """Return the bootstrap interval of a metric from its replicates.

    The scale of each metric was chosen by simulation (tests/metrics/test_intervals.py): percentiles of an area under a
    curve cover the true value too rarely near its upper bound of 1.

    Parameters
    ----------
    replicates : ndarray of shape (count,)
        NaN if the metric is undefined in a resample.
    images : int
    value : float
        The metric of the part itself.
    scale : {"percentile", "log", "logit"}
        ``percentile``: percentiles of the replicates, expanded for few images (Hesterberg 2015, "What teachers should
        know about the bootstrap"). ``log`` (values from 0 up) and ``logit`` (values from 0 to 1): standard deviations
        on that scale (Pepe 2003, "The statistical evaluation of medical tests for classification and prediction").

    Returns
    -------
    (float, float) or (None, None)
        None if the metric is undefined in most resamples or the same in all: the bootstrap cannot foresee errors that
        no image shows, and its interval would have no width.
    """
    from scipy.stats import t

    defined = replicates[np.isfinite(replicates)]
    if images < 2 or 2 * len(defined) < len(replicates) or float(np.ptp(defined)) < _NO_WIDTH:
        return None, None
    reach = float(t.ppf((1 + CONFIDENCE) / 2, images - 1)) * np.sqrt(images / (images - 1))
    if scale == PERCENTILE:
        level = NormalDist().cdf(-reach)
        low, high = (float(bound) for bound in np.quantile(defined, [level, 1 - level]))
        return (low, high) if high - low > _NO_WIDTH else (None, None)
    if value <= 0 or (scale == LOGIT and value >= 1):
        return None, None
    half = reach * float(defined.std(ddof=1)) / (value * (1 - value) if scale == LOGIT else value)
    if scale == LOG:
        return value * float(np.exp(-half)), value * float(np.exp(half))
    odds = value / (1 - value)
    return tuple(1 / (1 + float(np.exp(-side * half)) / odds) for side in (-1, 1))  # type: ignore[return-value]


def points_summary(difference: MetricValue) -> str:
    """Return a difference of shares in percentage points, with its interval if it has one.

    Examples
    --------
    >>> points({"value": 0.012, "low": -0.01, "high": 0.034})
    '+1.2 points (-1.0 to +3.4)'
    """
    low, high = difference["low"], difference["high"]
    interval = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * difference['value']:+.1f} points{interval}"
