"""Temperature scaling: calibrated probabilities from one parameter, fitted on held-out images.

References
----------
C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", 1984, section 3.4.3
(rule of one standard error).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_PROBABILITY = 1e-12
"""Smaller probabilities, such as the zeros of random forests, are replaced by it: their logarithm must be finite."""
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
_STEPS = 50
_MIN_IMAGES = 30
"""With fewer images the fitted temperature is unreliable."""


def fit_temperature(
    truth: NDArray[np.int64], probabilities: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> float | None:
    """Return the temperature closest to 1 whose log loss is within one standard error of the best one.

    The temperature with the lowest log loss (Guo et al. 2017, section 4.2) overfits on few images and then makes
    predictions worse as often as better; see docs/benchmarks.md. If all predictions are correct, the likelihood alone
    has no maximum, so one pseudo-image with equally likely classes is added.

    Parameters
    ----------
    truth : ndarray of shape (n,), int
        Class index of each image.
    probabilities : ndarray of shape (n, k), float
        Predictions for images that were not trained on.
    weights : ndarray of shape (k,), optional
        Weight of an image of each class.

    Returns
    -------
    float or None
        Above 1 it lowers the confidence, below 1 it raises it. None if there are fewer than 30 images.
    """
    if len(truth) < _MIN_IMAGES:
        return None

    from scipy.optimize import minimize_scalar

    logits = _logits(probabilities)
    counts = np.ones(len(truth)) if weights is None else weights[truth]
    shares = counts / counts.sum()
    rows = np.arange(len(truth))

    def scale(log_temperature: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scaled logits and their log-sum-exp."""
        scaled = logits / np.exp(log_temperature)
        largest = scaled.max(axis=1)
        return scaled, np.log(np.exp(scaled - largest[:, None]).sum(axis=1)) + largest

    def losses(log_temperature: float) -> NDArray[np.float64]:
        scaled, log_sum = scale(log_temperature)
        return np.asarray(log_sum - scaled[rows, truth])

    def objective(log_temperature: float) -> float:
        scaled, log_sum = scale(log_temperature)
        # The pseudo-image has equally likely classes and the average logits. The effective number of images with
        # unequal weights is 1 / (shares @ shares).
        pseudo_loss = float(shares @ (log_sum - scaled.mean(axis=1)))
        return float(shares @ (log_sum - scaled[rows, truth])) + pseudo_loss * float(shares @ shares)

    bounds = (np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE))
    best = float(minimize_scalar(objective, bounds=bounds, method="bounded").x)
    lowest = losses(best)
    for step in range(_STEPS):
        candidate = best * step / _STEPS
        excess = losses(candidate) - lowest
        mean = float(shares @ excess)
        if mean <= float(np.sqrt(np.sum((shares * (excess - mean)) ** 2))):
            return float(np.exp(candidate))
    return float(np.exp(best))


def apply_temperature(probabilities: NDArray[np.float32], temperature: float | None) -> NDArray[np.float32]:
    """Divide the logits of probabilities of shape (n, k) by a temperature; None leaves them unchanged."""
    if temperature is None:
        return probabilities
    scaled = _logits(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    # A class without training images keeps the probability 0.
    powers[probabilities == 0] = 0
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def balanced_class_weights(truth: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the weight of an image of each class that gives all classes the same total, of shape (classes,)."""
    counts = np.bincount(truth, minlength=classes)
    share = len(truth) / int(np.count_nonzero(counts))
    return np.asarray(share / np.maximum(counts, 1), np.float64)


def _logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY))
