"""Image quality: images that are tiny, dark, over-bright, blurred, of one colour or of an unusual shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.image_stats import ImageStats

TINY = 64
"""Pixels of the shorter side: scaled up to 224, most of what the network receives would be interpolated."""
DARK, BRIGHT = 40.0, 215.0
"""Mean grey value: the outer sixths of the range. The image must also be an outlier in its folder, see `OUTLIER`."""
FLAT = 2.0
"""Standard deviation in grey levels: below this an image has one colour."""
BLURRED = 10.0
"""Variance of the Laplacian at 192 x 192 pixels. Photographs of clothing and of hands have at least 11; blurred by 2 %
of their side, less than 5. The image must also be an outlier in its folder."""
STRETCHED = 2.0
"""Aspect ratio; resized to a square, such an image shows its objects at half their width or less. 16:9 is below."""
UNLIKE_MEDIAN = 1.5
"""A stretched image must also differ by this factor from the median aspect ratio of its folder: a network adapts to a
folder of panoramas."""
FAR_FROM_MEDIAN = 4.0
"""An aspect ratio that differs by this factor from the median is unusual in any case."""
OUTLIER = 3.0
"""Robust standard deviations from the median: in a folder of night images no image is too dark."""
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class QualityIssue:
    """An image with a quality issue, its name, and the measured value."""

    path: str
    issue: str
    value: str


def quality_issues(stats: ImageStats, sizes: Sequence[tuple[int, int] | None]) -> tuple[QualityIssue, ...]:
    """Return the quality issues in the order of the images; an image may have several.

    Parameters
    ----------
    stats : ImageStats
    sizes : sequence of (int, int) or None
        Width and height of each image in pixels; None if unknown.
    """
    width, height = np.array([size or (np.nan, np.nan) for size in sizes], np.float64).reshape(-1, 2).T
    pixels = [f"{w:.0f} x {h:.0f} pixels" for w, h in zip(width, height, strict=True)]
    flat = stats.contrast < FLAT
    brightness = [f"brightness {value:.0f} of 255" for value in stats.brightness]
    checks = {
        "tiny": (np.minimum(width, height) < TINY, pixels),
        "one colour": (flat, [f"contrast {value:.1f}" for value in stats.contrast]),
        "dark": ((stats.brightness < DARK) & _outliers(stats.brightness, -1) & ~flat, brightness),
        "over-bright": ((stats.brightness > BRIGHT) & _outliers(stats.brightness, 1) & ~flat, brightness),
        "blurred": (
            (stats.sharpness < BLURRED) & _outliers(np.log1p(stats.sharpness.astype(np.float64)), -1) & ~flat,
            [f"sharpness {value:.0f}" for value in stats.sharpness],
        ),
        "unusual shape": _unusual_shapes(width / height, pixels),
    }
    return tuple(
        QualityIssue(path, issue, values[row])
        for row, path in enumerate(stats.paths)
        for issue, (mask, values) in checks.items()
        if mask[row]
    )


def _unusual_shapes(aspect: NDArray[np.float64], pixels: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which aspect ratios are unusual, and a description of each."""
    shape = np.log(aspect)
    known = shape[~np.isnan(shape)]
    distance = np.abs(shape - (np.median(known) if len(known) else 0.0))
    stretched = (np.abs(shape) > np.log(STRETCHED)) & (distance > np.log(UNLIKE_MEDIAN))
    descriptions = [
        f"{text}, {np.exp(abs(value)):.1f} times as {'wide as high' if value > 0 else 'high as wide'}; "
        f"the median of the folder differs by a factor of {np.exp(far):.1f}"
        for text, value, far in zip(pixels, shape, distance, strict=True)
    ]
    return stretched | (distance > np.log(FAR_FROM_MEDIAN)), descriptions


def _outliers(values: NDArray[np.floating], side: int) -> NDArray[np.bool_]:
    """Return which values are outliers below (side -1) or above (side 1) the median."""
    if not len(values):
        return np.zeros(0, bool)
    distance = values - np.median(values)
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(distance)))
    return np.asarray(side * distance > OUTLIER * spread)
