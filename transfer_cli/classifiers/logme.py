"""LogME: how well features can explain labels, estimated without training a classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import Truth

_MAX_ITERATIONS, _TOLERANCE = 500, 1e-9
_LOWEST, _HIGHEST = 1e-30, 1e30


def logme(features: NDArray[np.float32], truth: Truth) -> float:
    """Return the maximum log evidence of a Bayesian linear model of the labels, per label and image.

    The labels, one 0/1 column each, are a linear function of the features with a normal prior on the weights and normal
    noise [1]_. Both precisions maximise the evidence, by MacKay's fixed point [2]_ on the eigenvalues of the Gram
    matrix of the features [3]_.

    Parameters
    ----------
    features : ndarray of shape (n, width), float32
    truth : ndarray of shape (n,) or (n, k), int
        Column of each row's class, or the indicator matrix of its labels.

    Returns
    -------
    float
        Higher is better; independent of the scale of the features.

    References
    ----------
    .. [1] K. You, Y. Liu, J. Wang and M. Long, "LogME: Practical Assessment of Pre-trained Models for Transfer
       Learning", ICML 2021.
    .. [2] D. MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
    .. [3] K. You et al., "Ranking and Tuning Pre-trained Models", JMLR 23, 2022.
    """
    rows = features.astype(np.float64)
    rows /= np.sqrt(np.mean(rows**2)) or 1.0
    columns = np.unique(truth) if truth.ndim == 1 else np.arange(truth.shape[1])
    targets = (truth[:, None] == columns if truth.ndim == 1 else truth).astype(np.float64)
    # The smaller of the two Gram matrices has all non-zero eigenvalues.
    if len(rows) <= rows.shape[1]:
        squares, left = np.linalg.eigh(rows @ rows.T)
        projected = left.T @ targets
    else:
        squares, right = np.linalg.eigh(rows.T @ rows)
        projected = (rows @ right).T @ targets / np.sqrt(np.maximum(squares, _LOWEST))[:, None]
    kept = squares > squares[-1] * max(rows.shape) * np.finfo(np.float64).eps
    squares, projected = squares[kept], projected[kept]
    rest = np.maximum((targets**2).sum(axis=0) - (projected**2).sum(axis=0), 0.0)
    return float(np.mean([_evidence(squares, *column, len(rows)) for column in zip(projected.T, rest, strict=True)]))


def _evidence(squares: NDArray[np.float64], projected: NDArray[np.float64], rest: float, count: int) -> float:
    """Return the maximum log evidence of one column of labels, per image.

    Parameters
    ----------
    squares : ndarray of shape (r,)
        Non-zero eigenvalues of the Gram matrix.
    projected : ndarray of shape (r,)
        Labels along its eigenvectors.
    rest : float
        Squared length of the part of the labels outside the span of the features.
    count : int
        Number of images.
    """
    alpha = beta = 1.0
    for _ in range(_MAX_ITERATIONS):
        shrunk = alpha + beta * squares
        known = float((beta * squares / shrunk).sum())
        weight = float((squares * (beta * projected / shrunk) ** 2).sum())
        error = float(((alpha * projected / shrunk) ** 2).sum()) + rest
        before = alpha, beta
        alpha = float(np.clip(known / max(weight, _LOWEST), _LOWEST, _HIGHEST))
        beta = float(np.clip((count - known) / max(error, _LOWEST), _LOWEST, _HIGHEST))
        if max(abs(np.log(alpha / before[0])), abs(np.log(beta / before[1]))) < _TOLERANCE:
            break
    shrunk = alpha + beta * squares
    weight = float((squares * (beta * projected / shrunk) ** 2).sum())
    error = float(((alpha * projected / shrunk) ** 2).sum()) + rest
    evidence = count * np.log(beta / (2 * np.pi)) - np.log(shrunk / alpha).sum() - beta * error - alpha * weight
    return float(evidence / (2 * count))
