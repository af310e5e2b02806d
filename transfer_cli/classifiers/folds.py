"""Folds: rows are scored by classifiers that saw neither them nor their relatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.classifiers import Splits

Truth = NDArray[np.int64]
Groups = NDArray[np.int64]
"""A number for each row: relatives have the same (see groups.kin)."""


def folds(truth: Truth, count: int, seed: int, groups: Groups | None = None) -> Splits:
    """Return `count` stratified folds, each row to be scored in exactly one.

    The rows of each class are shuffled and dealt out in turn, so that a class with two rows is learnt from in every
    fold, however many there are. Relatives are in one fold, the largest groups dealt first, each to the fold that has
    least of its classes. What no classifier can know without (see `single_rows`) is learnt from in the fold that
    scores it, too: its score says nothing.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(truth))
    kinds = dealt_by(truth)
    single = single_rows(truth, groups)
    if groups is None or len(np.unique(groups)) == len(groups):
        dealt = shuffled[np.argsort(kinds[shuffled], kind="stable")]
        fold_of = np.empty(len(truth), np.int64)
        fold_of[dealt] = np.arange(len(truth)) % min(count, len(truth))
    else:
        fold_of = _whole_groups(kinds, groups, shuffled, count)
    return [
        (np.flatnonzero((fold_of != fold) | single), np.flatnonzero(fold_of == fold)) for fold in np.unique(fold_of)
    ]


def single_rows(truth: Truth, groups: Groups | None = None) -> NDArray[np.bool_]:
    """Return which rows are the only one of their class, or of one of their labels.

    Of relatives: which are in a group that is the only one to have some class.
    """
    if groups is None:
        groups = np.arange(len(truth))
    _, number = np.unique(groups, return_inverse=True)
    indicator = truth if truth.ndim == 2 else np.eye(int(truth.max(initial=-1)) + 1, dtype=np.int64)[truth]
    single = np.zeros(int(number.max(initial=-1)) + 1, bool)
    for column in indicator.T:
        having = np.unique(number[column > 0])
        if len(having) == 1:
            single[having] = True
    return np.asarray(single[number])


def dealt_by(truth: Truth) -> Truth:
    """Return what rows are dealt out by: their class, or the rarest of their labels."""
    if truth.ndim == 1:
        return truth
    order = np.argsort(truth.sum(axis=0), kind="stable")
    rarest = order[truth[:, order].argmax(axis=1)]
    return np.asarray(np.where(truth.any(axis=1), rarest, truth.shape[1]))


def _whole_groups(kinds: Truth, groups: Groups, shuffled: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the fold of each row, where no group is parted."""
    names, number = np.unique(groups, return_inverse=True)
    count = min(count, len(names))
    of_kind = np.zeros((len(names), int(kinds.max()) + 1), np.int64)
    np.add.at(of_kind, (number, kinds), 1)
    sizes = of_kind.sum(axis=1)
    total = of_kind.sum(axis=0)
    share = of_kind / np.maximum(total, 1)
    known = (of_kind > 0).sum(axis=0) > 1
    held = np.zeros((count, of_kind.shape[1]), np.int64)
    fold_of = np.empty(len(names), np.int64)
    first = np.unique(number[shuffled], return_index=True)[1]
    for group in np.lexsort((first, -sizes)):
        if sizes[group] == 1:
            break
        # A class that lay in one fold as a whole could not be learnt from where it is scored.
        whole = ((held + of_kind[group] == total) & known & (of_kind[group] > 0)).any(axis=1)
        fold = np.lexsort((held.sum(axis=1), held @ share[group], whole))[0]
        fold_of[group] = fold
        held[fold] += of_kind[group]
    alone = shuffled[sizes[number[shuffled]] == 1]
    for kind in np.unique(kinds[alone]):
        rows = alone[kinds[alone] == kind]
        # To the folds that have fewest of the class, and of those to the smallest, one each in turn.
        order = np.argsort(held.sum(axis=1), kind="stable")
        level = held[order, kind] + np.arange(1, len(rows) + 1)[:, None]
        places = np.argsort(level.ravel(), kind="stable")[: len(rows)]
        chosen = np.tile(order, len(rows))[places]
        fold_of[number[rows]] = chosen
        np.add.at(held, (chosen, kind), 1)
    return np.asarray(fold_of[number])
