"""Probabilities that are as sure as they are right: one temperature, fitted on pictures that were not learnt from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-12
"""A probability of zero, as forests give, is taken for this: its logarithm has to be finite."""
_COLDEST, _HOTTEST = 0.05, 20.0
_FEWEST = 30
"""With fewer pictures a temperature says more about these than about the classifier."""


def fit_temperature(
    truth: NDArray[np.int64], probabilities: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> float | None:
    """Return the temperature with the least log loss (Guo et al. 2017, section 4.2).

    Parameters
    ----------
    truth : ndarray of shape (n,), int
        Column of the class of each picture.
    probabilities : ndarray of shape (n, k), float
        Of pictures that were not learnt from.
    weights : ndarray of shape (k,), optional
        What a picture of each class counts.

    Returns
    -------
    float or None
        Above 1 it makes probabilities less sure, below 1 more. None where there are too few pictures to say.
    """
    if len(truth) < _FEWEST:
        return None

    from scipy.optimize import minimize_scalar

    logits = _logits(probabilities)
    counts = np.ones(len(truth)) if weights is None else weights[truth]
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        normaliser = np.log(np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1)) + scaled.max(axis=1)
        return float((counts * (normaliser - scaled[rows, truth])).sum() / counts.sum())

    found = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: NDArray[np.float32], temperature: float | None) -> NDArray[np.float32]:
    """Return probabilities whose logits are divided by a temperature; the order of the classes stays.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k), float32
    temperature : float or None
        None changes nothing.
    """
    if temperature is None:
        return probabilities
    scaled = _logits(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    # A class that was never learnt stays impossible.
    powers[probabilities == 0] = 0
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def of_equal_classes(truth: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return what a picture of each class counts so that all classes count the same, of shape (classes,)."""
    counts = np.bincount(truth, minlength=classes)
    share = len(truth) / int(np.count_nonzero(counts))
    return np.asarray(share / np.maximum(counts, 1), np.float64)


def _logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
