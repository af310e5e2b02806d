"""Pictures that a person would not have taken on purpose: tiny, dark, over-bright, blurred, of an odd shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transfer_cli.engine.looks import Looks

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
"""So many times as wide or as high, for its height or its width, as the middle one of its folder."""
OUTLIER = 3.0
"""Robust standard deviations from the median: a folder of night pictures is not dark, and one of fog is not blurred."""
_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Doubtful:
    """A picture with a fault, the fault, and the figure that shows it."""

    path: str
    fault: str
    figure: str


def doubtful(looks: Looks, sizes: Sequence[tuple[int, int]]) -> tuple[Doubtful, ...]:
    """Return the pictures with a fault, in their order; one may have several.

    Parameters
    ----------
    looks : Looks
    sizes : sequence of (int, int)
        Width and height of each, in pixels.
    """
    width, height = np.array(sizes, np.float64).reshape(-1, 2).T
    shape = np.log(width / height)
    sharpness = np.log1p(looks.sharpness.astype(np.float64))
    flat = looks.contrast < FLAT
    middle = np.median(shape) if len(shape) else 0.0
    small = np.minimum(width, height)
    faults = {
        "tiny": (small < TINY, [f"{int(w)} x {int(h)} pixels" for w, h in zip(width, height, strict=True)]),
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
            np.abs(shape - middle) > np.log(STRETCHED),
            [f"{int(w)} x {int(h)} pixels" for w, h in zip(width, height, strict=True)],
        ),
    }
    found = [
        (int(row), Doubtful(looks.paths[row], fault, figures[row]))
        for fault, (which, figures) in faults.items()
        for row in np.flatnonzero(which)
    ]
    return tuple(item for _, item in sorted(found, key=lambda pair: pair[0]))


def sizes_of(paths: Sequence[str], root: Path) -> list[tuple[int, int]]:
    """Return width and height of pictures that can be read, from their headers; a turn by EXIF is not looked at."""
    found = []
    for path in paths:
        with Image.open(root / path) as image:
            found.append(image.size)
    return found


def _rare(values: NDArray[np.floating], side: int) -> NDArray[np.bool_]:
    """Return which values lie far below (-1) or above (1) the others."""
    if not len(values):
        return np.zeros(0, bool)
    away = values - np.median(values)
    spread = _TO_SIGMA * float(np.median(np.abs(away)))
    return np.asarray(side * away > OUTLIER * spread)
