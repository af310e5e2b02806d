"""Stratified, grouped folds for cross-validation: no row is scored by a classifier that saw its group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.classifiers import Splits

Truth = NDArray[np.int64]
Groups = NDArray[np.int64]
"""Group of each row, as an integer (see data.groups.assign_group_ids)."""


def folds(truth: Truth, count: int, seed: int, groups: Groups | None = None) -> Splits:
    """Return `count` stratified folds; each row is scored in exactly one.

    The rows of each class are shuffled and distributed in turn, so that a class with two rows is trained on in every
    fold. A group is in one fold: the largest groups come first, each goes to the fold with fewest rows of its
    classes. Rows that alone represent a class (`single_rows`) are always trained on; their scores are meaningless.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(truth))
    kinds = strata(truth)
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
    """Return which rows alone have their class or one of their labels; with groups, which groups do."""
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


def strata(truth: Truth) -> Truth:
    """Return what rows are stratified by: their class, or the rarest of their labels."""
    if truth.ndim == 1:
        return truth
    order = np.argsort(truth.sum(axis=0), kind="stable")
    rarest = order[truth[:, order].argmax(axis=1)]
    return np.asarray(np.where(truth.any(axis=1), rarest, truth.shape[1]))


def _whole_groups(kinds: Truth, groups: Groups, shuffled: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the fold of each row; every group is in one fold."""
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
        # A class that is in one fold completely could not be trained on where it is scored.
        whole = ((held + of_kind[group] == total) & known & (of_kind[group] > 0)).any(axis=1)
        fold = np.lexsort((held.sum(axis=1), held @ share[group], whole))[0]
        fold_of[group] = fold
        held[fold] += of_kind[group]
    alone = shuffled[sizes[number[shuffled]] == 1]
    for kind in np.unique(kinds[alone]):
        rows = alone[kinds[alone] == kind]
        # One row each in turn to the folds with fewest rows of the class, smallest folds first.
        order = np.argsort(held.sum(axis=1), kind="stable")
        level = held[order, kind] + np.arange(1, len(rows) + 1)[:, None]
        places = np.argsort(level.ravel(), kind="stable")[: len(rows)]
        selected = np.tile(order, len(rows))[places]
        fold_of[number[rows]] = selected
        np.add.at(held, (selected, kind), 1)
    return np.asarray(fold_of[number])
