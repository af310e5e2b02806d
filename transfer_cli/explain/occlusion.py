"""Occlusion maps: how much the probability of a class drops when a patch of the image is blurred.

References
----------
Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.explain.multi_view import ViewedImage

GRID = 8
"""Cells per side of an occlusion map."""
PATCH = 3
"""Cells per side of the patch."""
_MIN_PROBABILITY = 1e-6
_BLUR = 12


def occlusion_map(
    predict: Callable[..., NDArray[np.float32]], image: ViewedImage, columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the occlusion maps of one image for some classes.

    A blurred patch slides over the image cell by cell, and beyond its edges, so that each cell is covered equally
    often. The value of a cell is the mean drop of the log-probability over the patches that cover it, or 0 if it rises.
    The patch covers the same region in all views.

    Parameters
    ----------
    predict : callable
        Maps images to class probabilities; one argument per view.
    image : ViewedImage
    columns : ndarray of shape (m,), int

    Returns
    -------
    ndarray of shape (m, g, g), float32
        In the first view.
    """
    size = image.views[0].size
    grid = min(GRID, size)
    patches = [(row, column) for row in range(1 - PATCH, grid) for column in range(1 - PATCH, grid)]
    edges = np.rint(np.linspace(0, size, grid + 1)).astype(int)
    # The last mask is empty: the original image.
    masks = np.zeros((len(patches) + 1, size, size), bool)
    for mask, (row, column) in zip(masks, patches, strict=False):
        mask[_patch_slice(edges, row), _patch_slice(edges, column)] = True
    probabilities = predict(*image.replace_pixels([blurred(pixels) for pixels in image.images], masks))
    logarithms = np.log(probabilities[:, columns].astype(np.float64) + _MIN_PROBABILITY)
    maps = np.zeros((len(columns), grid, grid), np.float32)
    for drop, (row, column) in zip(logarithms[-1] - logarithms[:-1], patches, strict=True):
        cells = slice(max(row, 0), row + PATCH), slice(max(column, 0), column + PATCH)
        maps[(slice(None), *cells)] += drop[:, None, None] / PATCH**2
    return np.maximum(maps, 0)


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a strongly blurred image."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[0] / _BLUR), np.uint8)


def _patch_slice(edges: NDArray[np.int64], first: int) -> slice:
    return slice(edges[max(first, 0)], edges[min(first + PATCH, len(edges) - 1)])
