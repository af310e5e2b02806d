"""Metrics of every bootstrap resample, computed for many resamples at once.

The number of times an image was drawn is its weight, so a metric of a resample is scikit-learn's metric with
``sample_weight``. It is computed from sums over images (a sparse matrix times the matrix of weights) and, for areas
under curves, from cumulative sums in the order of the probabilities. The tests compare each metric with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.intervals import Resamples

Replicates = dict[str, NDArray[np.float64]]
"""Arrays of shape (count,), and of shape (classes, count) for names that end in a slash."""
Weights = NDArray[np.float32]
_MAX_WEIGHTS = 64_000_000
"""Weights in memory at a time: 256 MB. The classes are ranked once for each set of blocks of this size."""


def replicate(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    each: Mapping[str, NDArray[np.float64]],
    resamples: Resamples,
) -> Replicates:
    """Return the metrics of every resample.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n, k), bool
        True and predicted classes of each image.
    probabilities : ndarray of shape (n, k), float
    each : mapping of str to ndarray of shape (n,)
        Metrics that are means over images, with the value of each image.
    resamples : Resamples

    Returns
    -------
    dict of str to ndarray
        ``f1/``, ``roc_auc/`` and ``average_precision/`` of shape (k, count); of shape (count,) the metrics of `each`,
        ``balanced_accuracy``, ``macro_``, ``weighted_`` and ``micro_`` ``precision``, ``recall`` and ``f1``,
        ``roc_auc`` and ``average_precision``. Macro and weighted metrics average the classes that occur in the
        resample.
    """
    from scipy import sparse

    tables = [sparse.csr_matrix(table.T).astype(np.float32) for table in (truth, predicted, truth & predicted)]
    means = np.array(list(each.values()))
    blocks: list[Replicates] = []
    for group in _group_blocks(resamples.blocks()):
        areas = _areas(truth, probabilities, group)
        for weights in group:
            support, predicted_count, correct = (np.asarray(table @ weights, np.float64) for table in tables)
            shares = means @ weights / resamples.images
            block = _from_counts(support, predicted_count, correct) | dict(zip(each, shares, strict=True))
            block["roc_auc/"], block["average_precision/"] = next(areas)
            for name in ("roc_auc", "average_precision"):
                block[name] = _mean(block[f"{name}/"], np.isfinite(block[f"{name}/"]))
            blocks.append(block)
    return {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in blocks[0]}


def _group_blocks(blocks: Iterable[Weights]) -> Iterator[list[Weights]]:
    """Yield lists of blocks of resamples, as many as may be in memory at a time."""
    group: list[Weights] = []
    for weights in blocks:
        group.append(weights)
        if sum(block.size for block in group) + weights.size > _MAX_WEIGHTS:
            yield group
            group = []
    if group:
        yield group


def _areas(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], group: Sequence[Weights]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return both areas of each class for each block, shape (k, resamples of the block).

    One class at a time: the ranking of a class is as large as the part, and there may be a thousand classes.
    """
    result = [np.empty((2, truth.shape[1], weights.shape[1])) for weights in group]
    for column in range(truth.shape[1]):
        ranking = ScoreRanking(truth[:, column], probabilities[:, column])
        for areas, weights in zip(result, group, strict=True):
            areas[:, column] = ranking.areas(weights)
    return ((roc_auc, precision) for roc_auc, precision in result)


def _from_counts(support: NDArray[Any], predicted: NDArray[Any], correct: NDArray[Any]) -> Replicates:
    """Return the metrics that follow from the true, predicted and correctly predicted images of each class."""
    occurs = support > 0
    metrics: Replicates = {}
    for name, part, whole in (
        ("precision", correct, predicted),
        ("recall", correct, support),
        ("f1", 2 * correct, support + predicted),
    ):
        per_class = _ratio(part, whole)
        metrics[f"macro_{name}"] = _mean(per_class, occurs)
        metrics[f"weighted_{name}"] = _ratio((support * per_class).sum(axis=0), support.sum(axis=0))
        metrics[f"micro_{name}"] = _ratio(part.sum(axis=0), whole.sum(axis=0))
        metrics[f"{name}/"] = np.where(occurs, per_class, np.nan)
    metrics["balanced_accuracy"] = metrics["macro_recall"]
    return metrics


class ScoreRanking:
    """The images sorted by the probability of one class, highest first."""

    def __init__(self, truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
        from scipy import sparse

        order = np.argsort(-scores, kind="stable")
        positive, count = truth[order], len(order)
        steps = np.flatnonzero(np.diff(scores[order])) + 1
        begins, ends = np.r_[0, steps], np.r_[steps, count]
        # Images between two groups of equal probability that hold the class matter only by the sum of their weights.
        held = np.add.reduceat(positive, begins, dtype=np.int64)
        begins, ends, held = begins[held > 0], ends[held > 0], held[held > 0]
        bounds = np.unique(np.r_[0, begins, ends, count])
        ones = np.ones(count, np.float32)
        self._parts = sparse.csr_matrix((ones, order, bounds), shape=(len(bounds) - 1, count))
        self._begins, self._ends = np.searchsorted(bounds, begins), np.searchsorted(bounds, ends)
        mine = order[positive]
        self._held = sparse.csr_matrix((ones[: len(mine)], mine, np.r_[0, np.cumsum(held)]), shape=(len(held), count))

    def areas(self, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the area under the ROC curve and the average precision of each resample; NaN if undefined.

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
    """Return part / whole, 0 if the whole is 0, like scikit-learn's zero_division=0."""
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return shares


def _mean(per_class: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean over the counted classes of each resample; NaN if there is none."""
    number = counted.sum(axis=0)
    return np.where(number > 0, _ratio(np.where(counted, per_class, 0).sum(axis=0), number), np.nan)
