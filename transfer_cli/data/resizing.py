"""How a picture of any shape becomes a square: resized with an antialiasing filter, cropped or padded."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# Pictures are read side by side already.
cv2.setNumThreads(1)


def squash(image: Pixels, size: int) -> Pixels:
    """Return the whole picture, its shape given up."""
    return resized(image, size, size)


def crop(image: Pixels, size: int) -> Pixels:
    """Return the largest square in the middle."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[top : top + side, left : left + side], size, size)


def pad(image: Pixels, size: int) -> Pixels:
    """Return the whole picture in its shape, on black."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inside = resized(image, max(1, round(width * scale)), max(1, round(height * scale)))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - inside.shape[0]) // 2, (size - inside.shape[1]) // 2
    square[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return square


RESIZE = {"squash": squash, "crop": crop, "pad": pad}
"""What the words of ``images.resize`` do."""


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """Return the picture at another size, each pixel from all it covers.

    It is sampled bilinearly on a grid that is finer than the result by a power of two, the one nearest to its own,
    whose blocks are then averaged: a third of the time of a filter as wide as the reduction (see docs/benchmarks.md).

    Parameters
    ----------
    image : ndarray of shape (h, w, 3), uint8
    width, height : int

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    across, down = _halvings(image.shape[1] / width, image.shape[0] / height)
    image = _to(image, width << across, height << down, cv2.INTER_LINEAR)
    while across and down:
        across, down = across - 1, down - 1
        image = _to(image, width << across, height << down, cv2.INTER_AREA)
    return _to(image, width, height, cv2.INTER_AREA)


def _halvings(*reductions: float) -> tuple[int, ...]:
    """Return how often each side is halved; by both at once is quickest, if they are of the same order."""
    wanted = [math.log2(reduction) for reduction in reductions]
    if max(wanted) - min(wanted) < 1:
        wanted = [sum(wanted) / 2] * 2
    return tuple(max(0, round(each)) for each in wanted)


def _to(image: Pixels, width: int, height: int, interpolation: int) -> Pixels:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
