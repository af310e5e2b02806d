"""Random subsets of training images in several sizes: nested, stratified, and made of whole groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import Groups, Truth, strata

SIZES = 5
_SMALLEST = 1 / 16
_MIN_PER_CLASS = 2
"""Images of each class in the smallest subset, if it has as many: a class of one image has no variance."""

Rows = NDArray[np.int64]


def subset_shares(truth: Truth) -> list[float]:
    """Return the shares of the training images to train on: a geometric series that ends with all of them.

    It begins with a sixteenth, or with the share that leaves two images of the median class.
    """
    median = float(np.median(np.unique(strata(truth), return_counts=True)[1]))
    smallest = min(1.0, max(_SMALLEST, _MIN_PER_CLASS / median))
    return [float(share) for share in np.geomspace(smallest, 1.0, SIZES)]


def nested_subsets(truth: Truth, groups: Groups, shares: list[float], random: np.random.Generator) -> list[Rows]:
    """Return the rows of one random subset per share; each contains those of lower shares.

    A group is in a subset as a whole, so a subset is larger than its share where groups are large.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
    groups : ndarray of shape (n,), int
    shares : list of float
        Of the rows of each class, ascending.
    random : numpy.random.Generator
    """
    _, number = np.unique(groups, return_inverse=True)
    turn = random.permutation(int(number.max(initial=-1)) + 1)[number]
    kinds, place, counts = np.unique(strata(truth), return_inverse=True, return_counts=True)
    # How many rows of the same class are in groups with an earlier turn.
    before = np.empty(len(truth), np.int64)
    for kind in range(len(kinds)):
        rows = np.flatnonzero(place == kind)
        before[rows] = np.searchsorted(np.sort(turn[rows]), turn[rows])
    subsets = []
    for share in shares:
        wanted = np.maximum(np.minimum(_MIN_PER_CLASS, counts), np.rint(share * counts))
        subsets.append(np.flatnonzero(np.isin(number, number[before < wanted[place]])))
    return subsets
