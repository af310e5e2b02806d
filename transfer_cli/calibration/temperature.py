"""Probabilities that are as sure as they are right: one temperature, fitted on pictures that were not learnt from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-12
"""A probability of zero, as forests give, is taken for this: its logarithm has to be finite."""
_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 50
_FEWEST = 30
"""With fewer pictures a temperature says more about these than about the classifier."""


def fit_temperature(
    truth: NDArray[np.int64], probabilities: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> float | None:
    """Return the mildest temperature whose log loss is that of the best one, as far as the pictures can tell.

    The best one (Guo et al. 2017, section 4.2) follows the chance of few pictures, and then does harm as often as good.
    So of all between it and 1 the nearest to 1 is taken whose loss is worse by one standard error at most, as
    Breiman et al. (1984, section 3.4.3) choose the simplest tree; see docs/benchmarks.md. Where no answer is wrong the
    likelihood alone would have no best: it counts one picture more, of which nothing is known.

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
    shares = counts / counts.sum()
    rows = np.arange(len(truth))

    def scaled_by(log_temperature: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the logits, and the logarithm of what their powers add up to."""
        scaled = logits / np.exp(log_temperature)
        largest = scaled.max(axis=1)
        return scaled, np.log(np.exp(scaled - largest[:, None]).sum(axis=1)) + largest

    def losses(log_temperature: float) -> NDArray[np.float64]:
        scaled, spread = scaled_by(log_temperature)
        return np.asarray(spread - scaled[rows, truth])

    def objective(log_temperature: float) -> float:
        scaled, spread = scaled_by(log_temperature)
        # Of the one picture more each class is as likely, and its logits are those of any of the others. Pictures
        # that count unequally are as good as 1 / (shares @ shares) equal ones.
        of_nothing = float(shares @ (spread - scaled.mean(axis=1)))
        return float(shares @ (spread - scaled[rows, truth])) + of_nothing * float(shares @ shares)

    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    best = float(minimize_scalar(objective, bounds=bounds, method="bounded").x)
    least = losses(best)
    for step in range(_STEPS):
        mild = best * step / _STEPS
        worse = losses(mild) - least
        mean = float(shares @ worse)
        if mean <= float(np.sqrt(np.sum((shares * (worse - mean)) ** 2))):
            return float(np.exp(mild))
    return float(np.exp(best))


def apply_temperature(probabilities: NDArray[np.float32], temperature: float | None) -> NDArray[np.float32]:
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
    return np.log(np.maximum(probabilities.astype(np.float64), LEAST))
