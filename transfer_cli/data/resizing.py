"""Resize an image of any shape to a square: squash, crop or pad, with antialiasing."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

cv2.setNumThreads(1)  # several images are decoded in parallel already


def squash(image: Pixels, size: int) -> Pixels:
    """Return the whole image without its proportions."""
    return resize_to(image, size, size)


def crop(image: Pixels, size: int) -> Pixels:
    """Return the largest central square."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize_to(image[top : top + side, left : left + side], size, size)


def pad(image: Pixels, size: int) -> Pixels:
    """Return the whole image in its proportions, with black borders."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inside = resize_to(image, max(1, round(width * scale)), max(1, round(height * scale)))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - inside.shape[0]) // 2, (size - inside.shape[1]) // 2
    square[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return square


RESIZE = {"squash": squash, "crop": crop, "pad": pad}
"""The values of the recipe setting ``images.resize``."""


def resize_to(image: Pixels, width: int, height: int) -> Pixels:
    """Resize an image; each pixel of the result averages all source pixels that it covers.

    The image is sampled bilinearly on a grid that is finer than the result by the nearest power of two, and the blocks
    of this grid are averaged. This takes a third of the time of a filter as wide as the reduction (see
    docs/benchmarks.md).

    Parameters
    ----------
    image : ndarray of shape (h, w, 3), uint8
    width, height : int

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
    """
    across, down = _halvings(image.shape[1] / width, image.shape[0] / height)
    image = _resample(image, width << across, height << down, cv2.INTER_LINEAR)
    while across and down:
        across, down = across - 1, down - 1
        image = _resample(image, width << across, height << down, cv2.INTER_AREA)
    return _resample(image, width, height, cv2.INTER_AREA)


def _halvings(*reductions: float) -> tuple[int, ...]:
    """Return how often to halve each side; the same number for both, which is fastest, if they are similar."""
    exact = [math.log2(reduction) for reduction in reductions]
    if max(exact) - min(exact) < 1:
        exact = [sum(exact) / 2] * 2
    return tuple(max(0, round(each)) for each in exact)


def _resample(image: Pixels, width: int, height: int, interpolation: int) -> Pixels:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
