"""Assign points of a plane to the cells of a grid, so that images drawn there do not overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_CELLS = 2500
"""Maximum number of cells, so that each image remains recognisable."""
MAX_FILLED = 0.55
"""Maximum share of cells with an image, so that clusters stay separate."""
_OUTLIER_PERCENT = 0.5


@dataclass(frozen=True)
class Grid:
    """A grid and the points in its cells.

    Attributes
    ----------
    columns, rows : int
    members : ndarray of shape (m,), int
        The points that have a cell: all of them if there is room.
    cells : ndarray of shape (m, 2), int
        Column and row of each; all are different.
    """

    columns: int
    rows: int
    members: NDArray[np.int64]
    cells: NDArray[np.int64]


def assign_to_grid(points: NDArray[np.floating], keep_first: NDArray[np.bool_]) -> Grid:
    """Assign points to cells such that the sum of squared distances is minimal.

    If there are more points than room, points in crowded cells are left out.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        One or more.
    keep_first : ndarray of shape (n,), bool
        Points that are left out last.
    """
    from scipy.optimize import linear_sum_assignment

    count = len(points)
    low, high = np.percentile(points, [_OUTLIER_PERCENT, 100 - _OUTLIER_PERCENT], axis=0)
    extent = np.maximum(high - low, 1e-9)
    ratio = float(np.clip(extent[0] / extent[1], 0.6, 1.7))
    cells = min(math.ceil(count / MAX_FILLED), MAX_CELLS)
    columns = max(1, round(math.sqrt(cells * ratio)))
    rows = max(1, cells // columns if cells == MAX_CELLS else math.ceil(cells / columns))
    places = np.clip((points - low) / extent, 0, 1) * (columns, rows)
    members = np.arange(count)
    if count > MAX_FILLED * columns * rows:
        members = _thin_out(places, keep_first, (columns, rows))
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    # One coordinate after the other, to keep one array of all pairs in memory instead of two.
    distances = (places[members, None, 0] - centres[None, :, 0] - 0.5) ** 2
    distances += (places[members, None, 1] - centres[None, :, 1] - 0.5) ** 2
    _, chosen = linear_sum_assignment(distances)
    return Grid(columns, rows, members, centres[chosen])


def _thin_out(places: NDArray[np.floating], keep_first: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.int64]:
    own = np.minimum(places.astype(np.int64), np.array(shape) - 1)
    cell = own[:, 1] * shape[0] + own[:, 0]
    distance = ((places - own - 0.5) ** 2).sum(axis=1)
    order = np.lexsort((distance, ~keep_first, cell))
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places)) - np.searchsorted(cell[order], cell[order])
    # The first point of every cell, then the second of every cell that has one, and so on.
    selected = np.lexsort((distance, ~keep_first, rank))[: int(MAX_FILLED * shape[0] * shape[1])]
    return np.sort(selected)
