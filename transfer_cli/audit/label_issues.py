"""Label issues: images whose label a cross-validated classifier finds unlikely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.progress import SILENT, Progress

Probabilities = NDArray[np.float32]
Truth = NDArray[np.int64]


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label may be wrong.

    Attributes
    ----------
    path : str
    labels : tuple of str
        The labels it has.
    suggested : tuple of str
        The labels that the classifier predicts.
    score : float
        Probability of the labels it has; the lower, the more likely they are wrong.
    confident : bool
        Whether the classifier predicts another class as confidently as for that class's own images, see
        `confidently_other`.
    """

    path: str
    labels: tuple[str, ...]
    suggested: tuple[str, ...]
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
    """Return out-of-fold probabilities of a logistic regression.

    Rows with the same number in `groups` are in the same fold, so that no duplicate vouches for a label. Rows of a
    class with a single image are NaN.
    """
    spec, options = classifiers.find("logistic"), fit.FitOptions(classes=classes, tune=True, seed=seed)
    fitted = fit.fit(spec, features, truth, options, groups=groups, progress=progress)
    assert fitted.out_of_fold is not None
    return fitted.out_of_fold


def self_confidence(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the probability of the label; in a multi-label task the lowest of all labels."""
    if truth.ndim == 2:
        return np.asarray(np.where(truth > 0, probabilities, 1 - probabilities).min(axis=1), np.float64)
    return np.asarray(probabilities[np.arange(len(truth)), truth], np.float64)


def confidently_other(truth: Truth, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Return which images are off the diagonal of the confident joint [1]_.

    The threshold of a class is the mean of its probability over the images with this label. An image counts if, among
    the classes whose threshold it reaches, the most probable is not its label. In a multi-label task each label has a
    threshold for yes and one for no, and one such label is enough.

    References
    ----------
    .. [1] C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating uncertainty in dataset labels",
       JAIR 70, 2021.
    """
    yes = probabilities.astype(np.float64)
    if truth.ndim == 2:
        no = 1 - yes
        is_yes = (yes >= _mean_where(truth == 1, yes)) & (yes > 0.5)
        is_no = (no >= _mean_where(truth == 0, no)) & (yes < 0.5)
        return np.asarray(((truth == 0) & is_yes | (truth == 1) & is_no).any(axis=1))
    has_label = truth[:, None] == np.arange(yes.shape[1])
    reached = yes >= _mean_where(has_label, yes)
    best = np.where(reached, yes, -1).argmax(axis=1)
    return np.asarray(reached.any(axis=1) & (best != truth))


def label_issues(
    paths: tuple[str, ...], truth: Truth, class_names: tuple[str, ...], probabilities: Probabilities
) -> tuple[LabelIssue, ...]:
    """Return the images whose prediction differs from their label, the most suspicious first."""
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    score = self_confidence(truth[known], probabilities[known])
    confident = confidently_other(truth[known], probabilities[known])
    predicted = probabilities >= 0.5 if truth.ndim == 2 else np.nan_to_num(probabilities).argmax(axis=1)
    issues = []
    for place in np.argsort(score, kind="stable"):
        row = known[place]
        labels, suggested = _names(truth[row], class_names), _names(predicted[row], class_names)
        if labels != suggested:
            issues.append(
                LabelIssue(paths[row], labels, suggested, round(float(score[place]), 4), bool(confident[place]))
            )
    return tuple(issues)


def _mean_where(mask: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each column over the rows in `mask`; infinity for a column without one."""
    columns = zip(mask.T, values.T, strict=True)
    return np.array([column[rows].mean() if rows.any() else np.inf for rows, column in columns])


def _names(which: NDArray[np.int64] | np.int64, class_names: tuple[str, ...]) -> tuple[str, ...]:
    columns = np.flatnonzero(which) if np.ndim(which) else [which]
    return tuple(class_names[column] for column in columns)
