"""Pictures that a person would not have taken on purpose: tiny, dark, over-bright, blurred, of an odd shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.image_stats import Looks

TINY = 64
"""Pixels of the shorter side: of less than a third of 224, most of what a network looks at is made up."""
DARK, BRIGHT = 40.0, 215.0
"""Mean grey value: the outer sixth of the range. Only what is also rare in its folder counts, see `OUTLIER`."""
FLAT = 2.0
"""Grey levels of standard deviation: a picture of one colour shows nothing."""
BLURRED = 10.0
"""Variance of the Laplacian at 192 pixels. Photographs of clothing and of hands have 11 or more; the same, blurred by 2
percent of their side, less than 5. Only what is also rare in its folder counts."""
STRETCHED = 2.0
"""So many times as wide as high, or as high as wide: made a square it shows its things at half their width, or less.
16:9 is less than that. Where the whole folder is like that, a network learns it so."""
UNLIKE = 1.5
"""By so much its shape has to differ from that of the middle one of its folder, too."""
FAR = 4.0
"""A shape so far from that of the middle one is odd, whatever it is."""
OUTLIER = 3.0
"""Robust standard deviations from the median: a folder of night pictures is not dark, and one of fog is not blurred."""
_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Doubtful:
    """A picture with a fault, the fault, and the figure that shows it."""

    path: str
    fault: str
    figure: str


def doubtful(looks: Looks, sizes: Sequence[tuple[int, int] | None]) -> tuple[Doubtful, ...]:
    """Return the pictures with a fault, in their order; one may have several.

    Parameters
    ----------
    looks : Looks
    sizes : sequence of (int, int) or None
        Width and height of each, in pixels; None where they are not known.
    """
    width, height = np.array([size or (np.nan, np.nan) for size in sizes], np.float64).reshape(-1, 2).T
    shape = np.log(width / height)
    sharpness = np.log1p(looks.sharpness.astype(np.float64))
    flat = looks.contrast < FLAT
    known = shape[~np.isnan(shape)]
    away = np.abs(shape - (np.median(known) if len(known) else 0.0))
    small = np.minimum(width, height)
    pixels = [f"{w:.0f} x {h:.0f} pixels" for w, h in zip(width, height, strict=True)]
    faults = {
        "tiny": (small < TINY, pixels),
        "one colour": (flat, [f"contrast {value:.1f}" for value in looks.contrast]),
        "dark": (
            (looks.brightness < DARK) & _rare(looks.brightness, -1) & ~flat,
            [f"brightness {value:.0f} of 255" for value in looks.brightness],
        ),
        "over-bright": (
            (looks.brightness > BRIGHT) & _rare(looks.brightness, 1) & ~flat,
            [f"brightness {value:.0f} of 255" for value in looks.brightness],
        ),
        "blurred": (
            (looks.sharpness < BLURRED) & _rare(sharpness, -1) & ~flat,
            [f"sharpness {value:.0f}" for value in looks.sharpness],
        ),
        "odd shape": (
            ((np.abs(shape) > np.log(STRETCHED)) & (away > np.log(UNLIKE))) | (away > np.log(FAR)),
            [
                f"{text}, {np.exp(abs(value)):.1f} times as {'wide as high' if value > 0 else 'high as wide'}; "
                f"{np.exp(far):.1f} times unlike the middle one here"
                for text, value, far in zip(pixels, shape, away, strict=True)
            ],
        ),
    }
    found = [
        (int(row), Doubtful(looks.paths[row], fault, figures[row]))
        for fault, (which, figures) in faults.items()
        for row in np.flatnonzero(which)
    ]
    return tuple(item for _, item in sorted(found, key=lambda pair: pair[0]))


def _rare(values: NDArray[np.floating], side: int) -> NDArray[np.bool_]:
    """Return which values lie far below (-1) or above (1) the others."""
    if not len(values):
        return np.zeros(0, bool)
    away = values - np.median(values)
    spread = _TO_SIGMA * float(np.median(np.abs(away)))
    return np.asarray(side * away > OUTLIER * spread)
