"""Predictions with truth become numbers; the accuracy has its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import tasks

RECALL = "recall/"
"""The prefix of a class in the figures of a part: which share of its images was found."""
UNEVEN = 3
"""Where the largest class has so many times the pictures of the smallest, a person is told the recall of each."""
Truth = NDArray[np.int64]
Probabilities = NDArray[np.float32]


class Figure(TypedDict):
    """A number and its 95 % confidence interval, null where there is none."""

    value: float
    low: float | None
    high: float | None


Metrics = Mapping[str, Mapping[str, Figure]]
"""``{part: {metric: Figure}}``, as in metrics.json."""


def score(
    truth: Truth, probabilities: Probabilities, thresholds: NDArray[np.float64] | None = None
) -> dict[str, Figure]:
    """Return the figures of one part.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
        Column of the true class of each image, or the indicator matrix of its labels.
    probabilities : ndarray of shape (n, k), float
    thresholds : ndarray of shape (k,), optional
        From which probability on a picture has a label; needed for a multi-label task.

    Returns
    -------
    dict of str to Figure
        Of a single-label task ``images``, ``accuracy`` (with Wilson's interval, Wilson 1927), ``balanced_accuracy``
        (mean recall of the classes that occur), ``macro_f1`` and ``log_loss`` (nats an image); of a multi-label task
        see `_score_labels`.
    """
    from sklearn.metrics import f1_score

    if tasks.of(truth).name == tasks.MULTI_LABEL:
        assert thresholds is not None
        return _score_labels(truth, probabilities, thresholds)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    f1 = f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    return {
        "images": _plain(len(truth)),
        "accuracy": _proportion(int((predicted == truth).sum()), len(truth)),
        "balanced_accuracy": _plain(balanced_accuracy(truth, predicted)),
        "macro_f1": _plain(f1),
        "log_loss": _plain(log_loss(truth, probabilities)),
    }


def _score_labels(truth: Truth, probabilities: Probabilities, thresholds: NDArray[np.float64]) -> dict[str, Figure]:
    """Return the figures of a part of a multi-label task.

    Returns
    -------
    dict of str to Figure
        ``images``, ``mean_average_precision`` (mean over the labels that occur of the average precision), ``micro_f1``
        and ``macro_f1`` at the thresholds, ``exact_matches`` (share of the images all of whose labels are right, with
        Wilson's interval) and ``log_loss`` (nats a label).
    """
    from sklearn.metrics import f1_score

    predicted = (probabilities >= thresholds).astype(np.int64)
    exact = int((predicted == truth).all(axis=1).sum())
    present = np.flatnonzero(truth.any(axis=0))
    return {
        "images": _plain(len(truth)),
        "mean_average_precision": _plain(mean_average_precision(truth, probabilities)),
        "micro_f1": _plain(f1_score(truth, predicted, average="micro", zero_division=0)),
        "macro_f1": _plain(
            f1_score(truth, predicted, labels=present, average="macro", zero_division=0) if len(present) else 0.0
        ),
        "exact_matches": _proportion(exact, len(truth)),
        "log_loss": _plain(log_loss(truth, probabilities)),
    }


def of_epoch(truth: Truth, probabilities: Probabilities) -> dict[str, float]:
    """Return what epochs are compared by: the log loss, and the figures of the task's row in the catalog.

    The accuracy of a multi-label task is the share of the images all of whose labels are right at one half.
    """
    predicted = probabilities.argmax(axis=1) if truth.ndim == 1 else (probabilities >= 0.5).astype(np.int64)
    figures = {
        "accuracy": lambda: float((predicted == truth).reshape(len(truth), -1).all(axis=1).mean()),
        "balanced_accuracy": lambda: balanced_accuracy(truth, predicted),
        "mean_average_precision": lambda: mean_average_precision(truth, probabilities),
    }
    return {"log_loss": log_loss(truth, probabilities), **{name: figures[name]() for name in tasks.of(truth).scored}}


def log_loss(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of -log p of what is true, in nats: of the class of each image, or of each label."""
    # scikit-learn's log_loss wants every class to occur in `truth`; a small part need not have them all.
    if truth.ndim == 2:
        given = np.where(truth > 0, probabilities, 1 - probabilities.astype(np.float64))
    else:
        given = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(given, 1e-15, 1.0)).mean())


def balanced_accuracy(truth: Truth, predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def mean_average_precision(truth: Truth, probabilities: Probabilities) -> float:
    """Return the mean of the average precision over the labels that occur; 0 where none does."""
    from sklearn.metrics import average_precision_score

    present = np.flatnonzero(truth.any(axis=0))
    if not len(present):
        return 0.0
    return float(average_precision_score(truth[:, present], probabilities[:, present], average="macro"))


def fit_thresholds(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return for each label the threshold with the best F1 score.

    It lies halfway between two probabilities that occur, or between one and zero. A label that no picture has, or all
    have, keeps one half: there is nothing to choose it by.

    Parameters
    ----------
    truth : ndarray of shape (n, k), int
    probabilities : ndarray of shape (n, k), float
    """
    from sklearn.metrics import precision_recall_curve

    found = np.full(truth.shape[1], 0.5)
    for column in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        precision, recall, bars = precision_recall_curve(truth[:, column], probabilities[:, column])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1[:-1].argmax())
        below = bars[best - 1] if best else 0.0
        found[column] = (float(below) + float(bars[best])) / 2
    return found


def recalls(truth: Truth, predicted: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Figure]:
    """Return for each class that occurs which share of its images was found, with Wilson's interval."""
    found = {}
    for column, name in enumerate(class_names):
        mine = truth[:, column] > 0 if truth.ndim == 2 else truth == column
        right = predicted[mine, column] > 0 if truth.ndim == 2 else predicted[mine] == column
        if mine.any():
            found[name] = _proportion(int(right.sum()), int(mine.sum()))
    return found


def in_words(part: str, figures: Mapping[str, Figure], note: str = "") -> str:
    """Return one line about a part, for a person."""
    if "mean_average_precision" in figures:
        shown = ", ".join(
            f"{name} {figures[key]['value']:.3f}"
            for name, key in (("mAP", "mean_average_precision"), ("macro F1", "macro_f1"), ("micro F1", "micro_f1"))
        )
        return f"{part:5} {shown} ({int(figures['images']['value'])} pictures{note})"
    accuracy = figures["accuracy"]
    images = int(figures["images"]["value"])
    interval = f"95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}"
    return f"{part:5} accuracy {accuracy['value']:.3f} ({interval}; {images} pictures{note})"


def recalls_in_words(part: str, figures: Mapping[str, Figure]) -> str:
    """Return one line about what was found of each class, the worst first."""
    found = {name.removeprefix(RECALL): figure["value"] for name, figure in figures.items() if name.startswith(RECALL)}
    worst = sorted(found.items(), key=lambda item: item[1])
    more = f", and {len(worst) - 20} more above that" if len(worst) > 20 else ""
    return f"{part:5} found of each class: {', '.join(f'{name} {value:.2f}' for name, value in worst[:20])}{more}"


def _proportion(right: int, count: int) -> Figure:
    from scipy.stats import binomtest

    interval = binomtest(right, count).proportion_ci(method="wilson")
    return {"value": right / count, "low": float(interval.low), "high": float(interval.high)}


def _plain(value: float) -> Figure:
    return {"value": float(value), "low": None, "high": None}
