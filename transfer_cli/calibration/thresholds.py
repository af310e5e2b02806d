"""The threshold of each label of a multi-label task, fitted on val."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.intervals import Figure as Figure
from transfer_cli.metrics.scores import Probabilities, Truth


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
