"""Predictions with truth become numbers; the accuracy has its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class Figure(TypedDict):
    """A number and its 95 % confidence interval, null where there is none."""

    value: float
    low: float | None
    high: float | None


Metrics = Mapping[str, Mapping[str, Figure]]
"""``{part: {metric: Figure}}``, as in metrics.json."""


def score(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Figure]:
    """Return the figures of one part.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
        Column of the true class of each image.
    probabilities : ndarray of shape (n, k), float

    Returns
    -------
    dict of str to Figure
        ``images``, ``accuracy`` (with Wilson's interval, Wilson 1927), ``balanced_accuracy`` (mean recall of
        the classes that occur), ``macro_f1`` and ``log_loss`` (nats an image).
    """
    from scipy.stats import binomtest
    from sklearn.metrics import f1_score

    predicted = probabilities.argmax(axis=1)
    right = int((predicted == truth).sum())
    interval = binomtest(right, len(truth)).proportion_ci(method="wilson")
    present = np.unique(truth)
    f1 = f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    return {
        "images": _plain(len(truth)),
        "accuracy": {"value": right / len(truth), "low": float(interval.low), "high": float(interval.high)},
        "balanced_accuracy": _plain(balanced_accuracy(truth, predicted)),
        "macro_f1": _plain(f1),
        "log_loss": _plain(log_loss(truth, probabilities)),
    }


def log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    """Return the mean of -log p of the true class, in nats."""
    # scikit-learn's log_loss wants every class to occur in `truth`; a small part need not have them all.
    chosen = np.clip(probabilities[np.arange(len(truth)), truth].astype(np.float64), 1e-15, 1.0)
    return float(-np.log(chosen).mean())


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur."""
    return float(np.mean([(predicted[truth == column] == column).mean() for column in np.unique(truth)]))


def in_words(part: str, figures: Mapping[str, Figure], note: str = "") -> str:
    """Return one line about a part, for a person."""
    accuracy = figures["accuracy"]
    images = int(figures["images"]["value"])
    interval = f"95 % interval {accuracy['low']:.3f} to {accuracy['high']:.3f}"
    return f"{part:5} accuracy {accuracy['value']:.3f} ({interval}; {images} pictures{note})"


def _plain(value: float) -> Figure:
    return {"value": float(value), "low": None, "high": None}
