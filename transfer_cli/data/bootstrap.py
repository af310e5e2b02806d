"""Bootstrap samples of the training set, one for each member of a bagged model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STREAM = 0xBA65
"""Separates these random numbers from all others of the same seed."""


def bootstrap_sample(bag: int, seed: int, truth: NDArray[np.int64], group_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a bootstrap sample, ascending; a row drawn several times occurs several times.

    Groups are drawn with replacement, as many as there are, so that an image outside the bag has no group member in
    it. If a class was not drawn at all, one group of it replaces one group of another class.

    Parameters
    ----------
    bag : int
        Number of the sample, from 1.
    seed : int
    truth : ndarray of shape (n,) or (n, k), int
        Class index of each row, or indicator matrix of its labels.
    group_ids : ndarray of shape (n,), int
        The same number for all rows of a group (see `groups.assign_group_ids`).

    References
    ----------
    Breiman 1996, "Bagging predictors".

    Examples
    --------
    >>> bootstrap_sample(1, 0, np.array([0, 0, 0, 1, 1, 1]), np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]
    False
    """
    random = np.random.default_rng((seed, bag, _STREAM))
    _, group_of = np.unique(group_ids, return_inverse=True)
    groups = int(group_of.max(initial=-1)) + 1
    labels = truth > 0 if truth.ndim == 2 else np.eye(int(truth.max(initial=-1)) + 1, dtype=bool)[truth]
    has = np.zeros((groups, labels.shape[1]), bool)
    np.logical_or.at(has, group_of, labels)
    counts = np.bincount(random.integers(0, groups, groups), minlength=groups)
    for column in range(has.shape[1]):
        candidates = np.flatnonzero(has[:, column])
        if not len(candidates) or counts[candidates].any():
            continue
        counts[random.choice(candidates)] += 1
        # Do not remove the last group of a class.
        removable = np.flatnonzero((counts > 0) & ~(has & (counts @ has <= 1)).any(axis=1))
        if len(removable):
            counts[random.choice(removable)] -= 1
    return np.repeat(np.arange(len(group_of)), counts[group_of])
