"""The nearest of many features by their cosine: exact, in bounded memory, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.split import SplitRow

_QUERIES_A_BLOCK = 512
_FEATURES_A_BLOCK = 8192
_NUMBERS_COMPARED = 2**23
_ROUNDING = 2.0**-24

Matrix = NDArray[np.floating]


@dataclass(frozen=True)
class Neighbour:
    """A picture of a run, and the cosine between its feature and that of another picture."""

    row: SplitRow
    cosine: float


class Gallery:
    """Features that are looked in again and again: their lengths are taken out once.

    Parameters
    ----------
    features : ndarray of shape (n, width)
        One or more.

    Raises
    ------
    ValueError
        When there are no features, or one is no finite number.
    """

    def __init__(self, features: Matrix) -> None:
        if not len(features):
            raise ValueError("expected features, received none")
        self._features = features
        self._rough = np.empty(features.shape, np.float32)
        for at in range(0, len(features), _FEATURES_A_BLOCK):
            self._rough[at : at + _FEATURES_A_BLOCK] = unit_rows(features[at : at + _FEATURES_A_BLOCK])

    def nearest(self, queries: Matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return which features are nearest to each query by the cosine of their angle, nearest first.

        Equal cosines are in the order of the features. A product of single precision chooses who may be among the
        nearest, with more room than its rounding can take; these are compared in double precision, pair by pair, so
        that neither the blocks nor the library that multiplies matrices has a say.

        Parameters
        ----------
        queries : ndarray of shape (m, width)
        k : int
            How many for each query; all n where there are fewer.

        Returns
        -------
        indices : ndarray of shape (m, min(k, n)), int
        cosines : ndarray of shape (m, min(k, n)), float32
            A feature of zeros has a cosine of zero with everything.

        Raises
        ------
        ValueError
            When `k` is below 1, or a feature is no finite number.
        """
        if k < 1:
            raise ValueError(f"expected features to find, k of 1 or more, received {k}")
        k = min(k, len(self._features))
        found = [
            self._of_block(unit_rows(queries[at : at + _QUERIES_A_BLOCK]), k)
            for at in range(0, len(queries), _QUERIES_A_BLOCK)
        ]
        if not found:
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        return np.concatenate([indices for indices, _ in found]), np.concatenate([cosines for _, cosines in found])

    def _of_block(self, queries: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rough_queries = queries.astype(np.float32)
        rows, columns, cosines = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        # Each of two roughly known cosines may be off by as much.
        slack = 2 * (self._features.shape[1] + 8) * _ROUNDING
        for at in range(0, len(self._rough), _FEATURES_A_BLOCK):
            block = self._rough[at : at + _FEATURES_A_BLOCK]
            rough = rough_queries @ block.T
            worst = max(len(block) - k, 0)
            bar = np.partition(rough, worst, axis=1)[:, worst, None]
            of_query, of_feature = np.nonzero(rough >= bar - slack)
            chosen, place = np.unique(at + of_feature, return_inverse=True)
            exact = _exact(queries, unit_rows(self._features[chosen]), of_query, place)
            rows, columns = np.concatenate([rows, of_query]), np.concatenate([columns, at + of_feature])
            rows, columns, cosines = _best(rows, columns, np.concatenate([cosines, exact]), k)
        return columns.reshape(len(queries), k), cosines.reshape(len(queries), k)


def nearest(features: Matrix, queries: Matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return what `Gallery.nearest` does, of features that are looked in once."""
    return Gallery(features).nearest(queries, k)


def unit_rows(features: Matrix) -> NDArray[np.float64]:
    """Return the features with a length of one each; those of zeros stay as they are."""
    wide = np.asarray(features, np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("a feature is no finite number")
    # By the largest number first: the square of a very small or very large one is no number any more.
    scaled = wide / _or_one(np.abs(wide).max(axis=1, keepdims=True, initial=0.0))
    unit: NDArray[np.float64] = scaled / _or_one(np.sqrt((scaled * scaled).sum(axis=1, keepdims=True)))
    return unit


def _or_one(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lengths == 0, 1.0, lengths)


def _exact(
    queries: NDArray[np.float64], block: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    cosines = np.empty(len(rows), np.float32)
    step = max(1, _NUMBERS_COMPARED // max(block.shape[1], 1))
    for at in range(0, len(rows), step):
        pairs = queries[rows[at : at + step]] * block[columns[at : at + step]]
        cosines[at : at + step] = np.clip(pairs.sum(axis=1), -1, 1)
    return cosines


def _best(
    rows: NDArray[np.int64], columns: NDArray[np.int64], cosines: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the `k` best pairs of each row, as far as there are so many, best first."""
    order = np.lexsort((columns, -cosines, rows))
    rows = rows[order]
    first = np.searchsorted(rows, rows)
    kept = order[np.arange(len(rows)) - first < k]
    return rows[np.arange(len(rows)) - first < k], columns[kept], cosines[kept]
