"""How much less probable a class gets where the picture is covered (Zeiler and Fergus 2014, section 4.2)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import Maps
from transfer_cli.explain.multi_view import Seen

GRID = 8
"""Cells a side."""
PATCH = 3
"""Cells that are covered at a time, a side."""
_SMALLEST = 1e-6
_BLUR = 12


def occlusion_maps(
    predict_proba: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    images: NDArray[np.uint8],
    columns: NDArray[np.int64],
) -> Maps:
    """Return where a patch over each picture lowers the log-probability of some classes.

    A blurred patch slides over the picture in steps of a cell, from beyond the edge to beyond the other, so that each
    cell is covered equally often; a cell's value is the mean over the patches that cover it.

    Parameters
    ----------
    predict_proba : callable
        Pictures to probabilities.
    images : ndarray of shape (n, size, size, 3), uint8
    columns : ndarray of shape (n, m), int
        The classes of each picture.

    Returns
    -------
    ndarray of shape (n, m, g, g), float32
        `g` is `GRID`, or less where the picture has not so many pixels; 0 where covering does not lower it.
    """
    maps = [
        occlusion_map(predict_proba, Seen.once(image), of_picture)
        for image, of_picture in zip(images, columns, strict=True)
    ]
    grid = min(GRID, images.shape[1])
    return np.stack(maps) if maps else np.zeros((*columns.shape, grid, grid), np.float32)


def occlusion_map(
    predict: Callable[..., NDArray[np.float32]], seen: Seen, columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return where a patch over a picture lowers the log-probability of some classes; it covers all views at one place.

    Parameters
    ----------
    predict : callable
        Takes pictures in each view, one argument a view.
    seen : Seen
    columns : ndarray of shape (m,), int

    Returns
    -------
    ndarray of shape (m, g, g), float32
        Over the first view.
    """
    size = seen.views[0].size
    grid = min(GRID, size)
    patches = [(row, column) for row in range(1 - PATCH, grid) for column in range(1 - PATCH, grid)]
    edges = np.rint(np.linspace(0, size, grid + 1)).astype(int)
    # The last is the picture as it is.
    places = np.zeros((len(patches) + 1, size, size), bool)
    for covered, (row, column) in zip(places, patches, strict=False):
        covered[_place(edges, row), _place(edges, column)] = True
    given = predict(*seen.changed([blurred(image) for image in seen.images], places))
    logarithms = np.log(given[:, columns].astype(np.float64) + _SMALLEST)
    found = np.zeros((len(columns), grid, grid), np.float32)
    for drop, (row, column) in zip(logarithms[-1] - logarithms[:-1], patches, strict=True):
        cells = slice(max(row, 0), row + PATCH), slice(max(column, 0), column + PATCH)
        found[(slice(None), *cells)] += drop[:, None, None] / PATCH**2
    return np.maximum(found, 0)


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of which only the coarse colours are left."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[0] / _BLUR), np.uint8)


def _place(edges: NDArray[np.int64], first: int) -> slice:
    return slice(edges[max(first, 0)], edges[min(first + PATCH, len(edges) - 1)])
