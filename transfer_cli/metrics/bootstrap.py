"""The figures of a part in every resample of it, all resamples at a time.

How often a picture was drawn is its weight, so that a figure of a resample is scikit-learn's with ``sample_weight``.
Here it is sums over pictures (a sparse matrix times the matrix of weights) and, of the areas under curves, sums of
those in the order of the probabilities; the tests compare each with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.intervals import Resamples

Replicates = dict[str, NDArray[np.float64]]
"""Of shape (count,), and of names that end in a slash (classes, count)."""
Weights = NDArray[np.float32]
_MOST_HELD = 64_000_000
"""Weights of resamples that lie in memory at a time: 256 MB. For each such lot the classes are ranked anew."""


def replicate(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    each: Mapping[str, NDArray[np.float64]],
    resamples: Resamples,
) -> Replicates:
    """Return the figures of every resample.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n, k), bool
        Which classes a picture has, and which it was given.
    probabilities : ndarray of shape (n, k), float
    each : mapping of str to ndarray of shape (n,)
        Figures that are means over pictures, with what each picture comes to.
    resamples : Resamples

    Returns
    -------
    dict of str to ndarray
        ``f1/``, ``roc_auc/`` and ``average_precision/`` of shape (k, count), and of shape (count,) the figures of
        `each`, ``balanced_accuracy``, ``macro_``, ``weighted_`` and ``micro_`` ``precision``, ``recall`` and ``f1``,
        ``roc_auc`` and ``average_precision``. Macro and weighted figures are of the classes that occur in the
        resample.
    """
    from scipy import sparse

    tables = [sparse.csr_matrix(table.T).astype(np.float32) for table in (truth, predicted, truth & predicted)]
    means = np.array(list(each.values()))
    blocks: list[Replicates] = []
    for several in _held(resamples.blocks()):
        areas = _areas(truth, probabilities, several)
        for weights in several:
            support, given, right = (np.asarray(table @ weights, np.float64) for table in tables)
            shares = means @ weights / resamples.images
            block = _of_counts(support, given, right) | dict(zip(each, shares, strict=True))
            block["roc_auc/"], block["average_precision/"] = next(areas)
            for name in ("roc_auc", "average_precision"):
                block[name] = _mean(block[f"{name}/"], np.isfinite(block[f"{name}/"]))
            blocks.append(block)
    return {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in blocks[0]}


def _held(blocks: Iterable[Weights]) -> Iterator[list[Weights]]:
    """Yield blocks of resamples together, as many as may lie in memory at a time."""
    held: list[Weights] = []
    for weights in blocks:
        held.append(weights)
        if sum(block.size for block in held) + weights.size > _MOST_HELD:
            yield held
            held = []
    if held:
        yield held


def _areas(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], several: Sequence[Weights]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return for each block both areas of each class, of shape (k, resamples of the block).

    One class at a time: the ranking of a class is as large as the part, and there may be a thousand.
    """
    found = [np.empty((2, truth.shape[1], weights.shape[1])) for weights in several]
    for column in range(truth.shape[1]):
        ranking = Ranking(truth[:, column], probabilities[:, column])
        for areas, weights in zip(found, several, strict=True):
            areas[:, column] = ranking.areas(weights)
    return ((roc_auc, precision) for roc_auc, precision in found)


def _of_counts(support: NDArray[Any], given: NDArray[Any], right: NDArray[Any]) -> Replicates:
    """Return what follows from how often each class was there, was given, and was given rightly."""
    there = support > 0
    figures: Replicates = {}
    for name, of_class in (
        ("precision", _ratio(right, given)),
        ("recall", _ratio(right, support)),
        ("f1", _ratio(2 * right, support + given)),
    ):
        figures[f"macro_{name}"] = _mean(of_class, there)
        figures[f"weighted_{name}"] = _ratio((support * of_class).sum(axis=0), support.sum(axis=0))
        figures[f"{name}/"] = np.where(there, of_class, np.nan)
    figures["balanced_accuracy"] = figures["macro_recall"]
    everything = [table.sum(axis=0) for table in (support, given, right)]
    figures["micro_precision"] = _ratio(everything[2], everything[1])
    figures["micro_recall"] = _ratio(everything[2], everything[0])
    figures["micro_f1"] = _ratio(2 * everything[2], everything[0] + everything[1])
    return figures


class Ranking:
    """The pictures in the order of the probability of one class, from the most probable."""

    def __init__(self, truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
        from scipy import sparse

        order = np.argsort(-scores, kind="stable")
        positive, count = truth[order], len(order)
        steps = np.flatnonzero(np.diff(scores[order])) + 1
        begins, ends = np.r_[0, steps], np.r_[steps, count]
        # Between two groups of equal probability that hold the class, only the sum of the weights matters.
        held = np.add.reduceat(positive, begins, dtype=np.int64)
        begins, ends, held = begins[held > 0], ends[held > 0], held[held > 0]
        bounds = np.unique(np.r_[0, begins, ends, count])
        ones = np.ones(count, np.float32)
        self._parts = sparse.csr_matrix((ones, order, bounds), shape=(len(bounds) - 1, count))
        self._begins, self._ends = np.searchsorted(bounds, begins), np.searchsorted(bounds, ends)
        mine = order[positive]
        self._held = sparse.csr_matrix((ones[: len(mine)], mine, np.r_[0, np.cumsum(held)]), shape=(len(held), count))

    def areas(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the area under the ROC curve and the average precision of each resample; NaN where there is none.

        As in scikit-learn, equal probabilities are one step, and the average precision is not interpolated.
        """
        up_to = np.zeros((self._parts.shape[0] + 1, weights.shape[1]))
        np.cumsum(self._parts @ weights, axis=0, dtype=np.float64, out=up_to[1:])
        positive = np.asarray(self._held @ weights, np.float64)
        before, after, total = up_to[self._begins], up_to[self._ends], up_to[-1]
        positives = np.cumsum(positive, axis=0)
        all_positive = positives[-1] if len(positives) else np.zeros(weights.shape[1])
        above = before - (positives - positive)
        equal = after - before - positive
        wrong = (positive * (above + equal / 2)).sum(axis=0)
        pairs = all_positive * (total - all_positive)
        area = np.where(pairs > 0, 1 - _ratio(wrong, pairs), np.nan)
        precise = (positive * _ratio(positives, after)).sum(axis=0)
        return area, np.where(all_positive > 0, _ratio(precise, all_positive), np.nan)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return a share; 0 of nothing is 0, as scikit-learn's zero_division has it."""
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return shares


def _mean(of_class: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean over the classes that count, of each resample; NaN where none does."""
    several = counted.sum(axis=0)
    return np.where(several > 0, _ratio(np.where(counted, of_class, 0).sum(axis=0), several), np.nan)
