"""Bootstrap samples of the train part: what each member of a bagged model learns from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BAGS = 0xBA65
"""Tells these draws from all others of the same seed."""


def drawn(bag: int, seed: int, truth: NDArray[np.int64], assign_group_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a bootstrap sample, ascending; a row that was drawn several times is there several times.

    As many are drawn as there are, with replacement (Breiman 1996, "Bagging Predictors"). Relatives are drawn together,
    so that a picture that is not in the bag has none there either. Of a class that chance left out one picture, or one
    group, takes the place of another.

    Parameters
    ----------
    bag : int
        From 1; each has a sample of its own.
    seed : int
        Of the recipe.
    truth : ndarray of shape (n,) or (n, k), int
        Column of each row's class, or the indicator matrix of its labels.
    assign_group_ids : ndarray of shape (n,), int
        The same number for relatives (see groups.kin).

    Examples
    --------
    >>> drawn(1, 0, np.array([0, 0, 0, 1, 1, 1]), np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]
    False
    """
    random = np.random.default_rng((seed, bag, _BAGS))
    _, unit_of = np.unique(assign_group_ids, return_inverse=True)
    units = int(unit_of.max(initial=-1)) + 1
    labels = truth > 0 if truth.ndim == 2 else np.eye(int(truth.max(initial=-1)) + 1, dtype=bool)[truth]
    has = np.zeros((units, labels.shape[1]), bool)
    np.logical_or.at(has, unit_of, labels)
    counts = np.bincount(random.integers(0, units, units), minlength=units)
    for column in range(has.shape[1]):
        having = np.flatnonzero(has[:, column])
        if not len(having) or counts[having].any():
            continue
        counts[random.choice(having)] += 1
        # Not one that is the last of a class.
        spare = np.flatnonzero((counts > 0) & ~(has & (counts @ has <= 1)).any(axis=1))
        if len(spare):
            counts[random.choice(spare)] -= 1
    return np.repeat(np.arange(len(unit_of)), counts[unit_of])
