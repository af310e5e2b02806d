"""Points of a plane moved to the cells of a grid, so that the pictures drawn there do not cover each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = 2500
"""No grid has more, so that each picture stays large enough to be made out."""
FILLED = 0.55
"""So much of a grid is filled at most: groups stay apart."""
_OUTLIERS = 0.5


@dataclass(frozen=True)
class Grid:
    """Who is in which cell.

    Attributes
    ----------
    columns, rows : int
    members : ndarray of shape (m,), int
        Which points have a cell: all, where there is room.
    cells : ndarray of shape (m, 2), int
        The column and the row of each, no two alike.
    """

    columns: int
    rows: int
    members: NDArray[np.int64]
    cells: NDArray[np.int64]


def on_grid(points: NDArray[np.floating], first: NDArray[np.bool_]) -> Grid:
    """Return the grid on which the points are moved least: the sum of their squared ways is the smallest there is.

    Where there are more points than `CELLS` leaves room for, they are thinned: of those that lie in the same cell, some
    are left out, those of crowded cells rather than those of others.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        One or more.
    first : ndarray of shape (n,), bool
        Which of them are left out last.
    """
    from scipy.optimize import linear_sum_assignment

    count = len(points)
    low, high = np.percentile(points, [_OUTLIERS, 100 - _OUTLIERS], axis=0)
    reach = np.maximum(high - low, 1e-9)
    columns, rows = _shape(min(math.ceil(count / FILLED), CELLS), float(np.clip(reach[0] / reach[1], 0.6, 1.7)))
    places = np.clip((points - low) / reach, 0, 1) * (columns, rows)
    members = np.arange(count)
    if count > FILLED * columns * rows:
        members = _thinned(places, first, (columns, rows))
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    # One way after the other: of all pairs at once there would be two arrays.
    ways = (places[members, None, 0] - centres[None, :, 0] - 0.5) ** 2
    ways += (places[members, None, 1] - centres[None, :, 1] - 0.5) ** 2
    _, chosen = linear_sum_assignment(ways)
    return Grid(columns, rows, members, centres[chosen])


def _shape(cells: int, ratio: float) -> tuple[int, int]:
    columns = max(1, round(math.sqrt(cells * ratio)))
    return columns, max(1, cells // columns if cells == CELLS else math.ceil(cells / columns))


def _thinned(places: NDArray[np.floating], first: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.int64]:
    own = np.minimum(places.astype(np.int64), np.array(shape) - 1)
    cell = own[:, 1] * shape[0] + own[:, 0]
    off = ((places - own - 0.5) ** 2).sum(axis=1)
    order = np.lexsort((off, ~first, cell))
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places)) - np.searchsorted(cell[order], cell[order])
    # The first of every cell, then the second of every cell that has one, and so on.
    kept = np.lexsort((off, ~first, rank))[: int(FILLED * shape[0] * shape[1])]
    return np.sort(kept)
