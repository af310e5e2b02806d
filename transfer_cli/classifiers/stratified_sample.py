"""A stratified sample of images that changes little when images are added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import Truth, strata

_MIN_PER_CLASS = 5
"""Images of each class that are selected before the rest is stratified: one per fold."""


def stratified_sample(digests: Sequence[str], truth: Truth, count: int, seed: int) -> NDArray[np.int64]:
    """Return the selected rows, sorted: a minimum per class first, then in proportion to the class sizes.

    Images are ordered by a hash of their digest and the seed.

    Parameters
    ----------
    digests : sequence of str
        Of the images.
    truth : ndarray of shape (n,) or (n, k), int
    count : int
        Maximum number of rows.
    seed : int
    """
    salted = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in digests]
    order = np.array(sorted(range(len(digests)), key=salted.__getitem__), np.int64)
    row_strata = strata(truth)
    turn, share = np.empty(len(digests), np.int64), np.empty(len(digests))
    for stratum in np.unique(row_strata):
        rows = order[row_strata[order] == stratum]
        turn[rows] = np.minimum(np.arange(len(rows)), _MIN_PER_CLASS)
        share[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    rank = np.empty(len(digests), np.int64)
    rank[order] = np.arange(len(digests))
    return np.sort(np.lexsort((rank, share, turn))[:count])
