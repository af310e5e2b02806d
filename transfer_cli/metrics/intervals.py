"""How far a figure may be from what more pictures of the same kind would give: 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_AT_ONCE = 400_000
"""So many weights are drawn at a time: as many as a processor's cache holds, and memory does not grow with the part."""
_MOST, _FEWEST, _WORK = 1000, 200, 2_000_000_000
_NO_WIDTH = 1e-12
Scale = Literal["percentile", "log", "logit"]
PERCENTILE: Scale = "percentile"
LOG: Scale = "log"
LOGIT: Scale = "logit"


class Figure(TypedDict):
    """A number and its 95 % confidence interval, null where there is none."""

    value: float
    low: float | None
    high: float | None


def plain(value: float) -> Figure:
    """Return a figure without an interval."""
    return {"value": float(value), "low": None, "high": None}


def proportion(right: int, count: int) -> Figure:
    """Return ``right / count`` with Wilson's interval (Wilson 1927), which no count of pictures is too small for.

    Examples
    --------
    >>> proportion(8, 10)
    {'value': 0.8, 'low': 0.490162..., 'high': 0.943317...}
    """
    share = right / count
    middle = share + _Z**2 / (2 * count)
    half = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    low, high = ((middle + side * half) / (1 + _Z**2 / count) for side in (-1, 1))
    # At none and at all of them rounding would leave 0 and 1 by a hair.
    return {"value": share, "low": float(low) if right else 0.0, "high": float(high) if right < count else 1.0}


@dataclass(frozen=True)
class Resamples:
    """The bootstrap (Efron 1979): pictures drawn anew, with replacement, as many as there are.

    Figures of two models are paired by taking both on the same resamples: those of one seed are the same for both.

    Attributes
    ----------
    images : int
    count : int
    seed : int
    """

    images: int
    count: int = _MOST
    seed: int = 0

    @classmethod
    def affordable(cls, images: int, classes: int, seed: int = 0) -> Resamples:
        """Return 1000 resamples; fewer, down to 200, of a part so large that these would take minutes."""
        count = max(_FEWEST, min(_MOST, _WORK // max(1, images * classes)))
        return cls(images, count, seed)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield how often each picture was drawn, of shape (pictures, some of the resamples)."""
        random, images = np.random.default_rng(self.seed), self.images
        at_once = max(1, min(self.count, _AT_ONCE // images))
        for begin in range(0, self.count, at_once):
            many = min(at_once, self.count - begin)
            drawn = random.integers(0, images, (many, images)) + np.arange(many)[:, None] * images
            times = np.bincount(drawn.ravel(), minlength=many * images).reshape(many, images)
            yield np.ascontiguousarray(times.T, np.float32)


def between(
    replicates: NDArray[np.float64], images: int, value: float, scale: Scale = PERCENTILE
) -> tuple[float | None, float | None]:
    """Return the interval of a figure by its replicates.

    Which scale a figure takes was chosen by simulation (tests/test_intervals.py): the percentiles of an area under a
    curve hold it too seldom near its bound of 1.

    Parameters
    ----------
    replicates : ndarray of shape (count,)
        Not a number where the figure does not exist in a resample.
    images : int
    value : float
        The figure of the part itself.
    scale : {"percentile", "log", "logit"}
        ``percentile``: from percentile to percentile, a little further out for few pictures (Hesterberg 2015, "What
        teachers should know about the bootstrap"). ``log`` and ``logit``: as many standard deviations to
        both sides on that scale, for figures from zero up and figures from zero to one (Pepe 2003, "The statistical
        evaluation of medical tests").

    Returns
    -------
    (float, float) or (None, None)
        Null where the figure does not exist in most resamples, or is the same in all: a bootstrap cannot know of
        mistakes that no picture shows, and would call certain what is not.
    """
    from scipy.stats import t

    known = replicates[np.isfinite(replicates)]
    if images < 2 or 2 * len(known) < len(replicates) or float(np.ptp(known)) < _NO_WIDTH:
        return None, None
    reach = float(t.ppf((1 + CONFIDENCE) / 2, images - 1)) * np.sqrt(images / (images - 1))
    if scale == PERCENTILE:
        level = NormalDist().cdf(-reach)
        low, high = (float(bound) for bound in np.quantile(known, [level, 1 - level]))
        return (low, high) if high - low > _NO_WIDTH else (None, None)
    if value <= 0 or (scale == LOGIT and value >= 1):
        return None, None
    half = reach * float(known.std(ddof=1)) / (value * (1 - value) if scale == LOGIT else value)
    if scale == LOG:
        return value * float(np.exp(-half)), value * float(np.exp(half))
    odds = value / (1 - value)
    return tuple(1 / (1 + float(np.exp(-side * half)) / odds) for side in (-1, 1))  # type: ignore[return-value]


def points(figure: Figure) -> str:
    """Return a difference of shares in points, with its interval where it has one.

    Examples
    --------
    >>> points({"value": 0.012, "low": -0.01, "high": 0.034})
    '+1.2 points (-1.0 to +3.4)'
    """
    low, high = figure["low"], figure["high"]
    interval = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * figure['value']:+.1f} points{interval}"
