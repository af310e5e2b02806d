"""Multi-label: the minimum probability of each label, fitted on the validation set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.scores import Probabilities, Truth


def fit_thresholds(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the threshold with the highest F1 score for each label, of shape (k,).

    It is halfway between two predicted probabilities, or between the lowest one and zero. A label that no image or
    every image has gets the threshold 0.5.

    Parameters
    ----------
    truth : ndarray of shape (n, k), int
    probabilities : ndarray of shape (n, k), float
    """
    from sklearn.metrics import precision_recall_curve

    thresholds = np.full(truth.shape[1], 0.5)
    for column in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        precision, recall, candidates = precision_recall_curve(truth[:, column], probabilities[:, column])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1[:-1].argmax())
        below = candidates[best - 1] if best else 0.0
        thresholds[column] = (float(below) + float(candidates[best])) / 2
    return thresholds
