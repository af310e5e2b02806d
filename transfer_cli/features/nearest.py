"""Nearest neighbours by the cosine similarity of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.split import SplitRow

_CHUNK_MIB = 64
_DIGITS = 5
"""Cosine similarities are rounded to the accuracy of single precision, so that equal images tie."""

Matrix = NDArray[np.floating]


@dataclass(frozen=True)
class Neighbour:
    """An image of a run, and the cosine similarity of its features to those of another image."""

    row: SplitRow
    cosine: float


class FeatureIndex:
    """Features that are searched exhaustively, in chunks of bounded memory.

    Parameters
    ----------
    features : ndarray of shape (n, width)

    Raises
    ------
    ValueError
        If there are no features, or one is not finite.
    """

    def __init__(self, features: Matrix) -> None:
        from sklearn.neighbors import NearestNeighbors

        if not len(features):
            raise ValueError("expected features, received none")
        self._count = len(features)
        self._neighbours = NearestNeighbors(metric="cosine", algorithm="brute").fit(unit_rows(features))

    def nearest(self, queries: Matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the most similar features to each query, most similar first.

        Results with the same cosine similarity are in the order of the features.

        Parameters
        ----------
        queries : ndarray of shape (m, width)
        k : int
            Number of results per query; at most n are returned.

        Returns
        -------
        indices : ndarray of shape (m, min(k, n)), int
        cosines : ndarray of shape (m, min(k, n)), float32
            Rounded to five digits. A feature of zeros has the cosine similarity 0 to every other.

        Raises
        ------
        ValueError
            If `k` is below 1, or a feature is not finite.
        """
        from sklearn import config_context

        if k < 1:
            raise ValueError(f"expected a number of features, k, of 1 or more, received {k}")
        k = min(k, self._count)
        if not len(queries):
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        with config_context(working_memory=_CHUNK_MIB):
            distances, indices = self._neighbours.kneighbors(unit_rows(queries), k)
        cosines = np.asarray(1 - distances, np.float32).round(_DIGITS)
        order = np.lexsort((indices, -cosines), axis=1)
        return np.take_along_axis(indices, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def nearest(features: Matrix, queries: Matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Search features once, as `FeatureIndex.nearest` does."""
    return FeatureIndex(features).nearest(queries, k)


def unit_rows(features: Matrix) -> Matrix:
    """Normalise each row to length 1; rows of zeros stay unchanged."""
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite")
    # Divided by the largest value first: the square of a very small or large number would underflow or overflow.
    scaled = features / _or_one(np.abs(features).max(axis=1, keepdims=True, initial=0.0))
    scaled /= _or_one(np.sqrt((scaled * scaled).sum(axis=1, keepdims=True)))
    return scaled


def _or_one(lengths: Matrix) -> Matrix:
    return np.where(lengths == 0, 1, lengths).astype(lengths.dtype)
