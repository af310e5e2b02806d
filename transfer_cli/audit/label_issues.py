"""Which labels look wrong: the pictures whose class a probe that did not see them finds least likely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.progress import SILENT, Progress

Probabilities = NDArray[np.float32]
Truth = NDArray[np.int64]


@dataclass(frozen=True)
class Suspect:
    """A picture whose label may be wrong.

    Attributes
    ----------
    path : str
    labels : tuple of str
        What it is said to be.
    likely : tuple of str
        What it looks like to the probe.
    score : float
        How well its label fits: the lower, the more likely it is wrong.
    confident : bool
        Whether the probe is as sure of another class as it is of that class's own pictures, see `confidently_other`.
    """

    path: str
    labels: tuple[str, ...]
    likely: tuple[str, ...]
    score: float
    confident: bool


def out_of_fold(
    features: NDArray[np.float32],
    truth: Truth,
    classes: int,
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Probabilities:
    """Return the probabilities of each picture by a logistic regression that saw neither it nor a copy of it.

    Rows with the same number in `groups` are copies. Rows of a class with a single picture are NaN.
    """
    spec = classifiers.find("logistic")
    fitted = fit.fit(spec, features, truth, classes=classes, tune=True, groups=groups, seed=seed, progress=progress)
    assert fitted.out_of_fold is not None
    return fitted.out_of_fold


def normalized_margin(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the probability of the label less that of the most likely other class (Northcutt et al. 2021).

    Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels". Of several labels it is
    the worst of them: the probability of what is said less that of the opposite.
    """
    if truth.ndim == 2:
        return 2 * self_confidence(truth, probabilities) - 1
    others = probabilities.astype(np.float64)
    own = others[np.arange(len(truth)), truth].copy()
    others[np.arange(len(truth)), truth] = -np.inf
    return np.asarray(own - others.max(axis=1))


def self_confidence(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the probability of the label; of several the least of what is said of each."""
    if truth.ndim == 2:
        return np.asarray(np.where(truth > 0, probabilities, 1 - probabilities).min(axis=1), np.float64)
    return np.asarray(probabilities[np.arange(len(truth)), truth], np.float64)


RANKINGS: dict[str, Callable[[Truth, Probabilities], NDArray[np.float64]]] = {
    "self-confidence": self_confidence,
    "normalized margin": normalized_margin,
}
"""Ways to rank; see docs/benchmarks.md for what each finds."""
RANKING = "self-confidence"


def confidently_other(truth: Truth, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Return which pictures are off the diagonal of the confident joint (Northcutt et al. 2021).

    The bar of a class is the mean probability of it over the pictures that bear it as their label. Among the classes
    whose bar a picture reaches, another than its label is the most probable. Of several labels each is a question of
    its own, with a bar for yes and one for no, and one answer is enough.
    """
    given = probabilities.astype(np.float64)
    if truth.ndim == 2:
        yes, no = (np.where(truth == side, said, np.nan) for side, said in ((1, given), (0, 1 - given)))
        bars = [np.array([np.nanmean(c) if (~np.isnan(c)).any() else np.inf for c in side.T]) for side in (yes, no)]
        said_yes, said_no = (given >= bars[0]) & (given > 0.5), (1 - given >= bars[1]) & (given < 0.5)
        return np.asarray(((truth == 0) & said_yes | (truth == 1) & said_no).any(axis=1))
    bars = [given[truth == column, column] for column in range(given.shape[1])]
    reached = given >= [bar.mean() if len(bar) else np.inf for bar in bars]
    best = np.where(reached, given, -1).argmax(axis=1)
    return np.asarray(reached.any(axis=1) & (best != truth))


def suspects(
    paths: tuple[str, ...], truth: Truth, class_names: tuple[str, ...], probabilities: Probabilities
) -> tuple[Suspect, ...]:
    """Return the pictures that look like something else than their label says, the most suspicious first."""
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    score = RANKINGS[RANKING](truth[known], probabilities[known])
    sure = confidently_other(truth[known], probabilities[known])
    found = []
    for place in np.argsort(score, kind="stable"):
        row = known[place]
        labels, likely = (_names(which[row], class_names) for which in (truth, _most_likely(truth, probabilities)))
        if labels != likely:
            found.append(Suspect(paths[row], labels, likely, round(float(score[place]), 4), bool(sure[place])))
    return tuple(found)


def _most_likely(truth: Truth, probabilities: Probabilities) -> Truth:
    if truth.ndim == 2:
        return (probabilities >= 0.5).astype(np.int64)
    return np.asarray(np.nan_to_num(probabilities).argmax(axis=1), np.int64)


def _names(which: NDArray[np.int64] | np.int64, class_names: tuple[str, ...]) -> tuple[str, ...]:
    columns = np.flatnonzero(which) if np.ndim(which) else [which]
    return tuple(class_names[column] for column in columns)
