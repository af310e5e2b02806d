"""LogME: how well features could explain labels, without learning a classifier from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import Truth

_ROUNDS, _STILL = 500, 1e-9
_LOWEST, _HIGHEST = 1e-30, 1e30


def logme(features: NDArray[np.float32], truth: Truth) -> float:
    """Return the maximum log evidence of a linear model of the labels, by label and picture.

    The labels, 0 or 1 in a column each, are a linear function of the features with weights of a normal prior and with
    normal noise; the precisions of both are those under which the labels are most probable, the weights
    integrated out. You, Liu, Wang and Long (2021), "LogME: Practical Assessment of Pre-trained Models for Transfer
    Learning", ICML; the fixed point of MacKay (1992), "Bayesian interpolation", on the eigenvalues of the features'
    Gram matrix, as in You et al. (2022), "Ranking and Tuning Pre-trained Models", JMLR 23.

    Parameters
    ----------
    features : ndarray of shape (n, width), float32
    truth : ndarray of shape (n,) or (n, k), int
        Column of each row's class, or the indicator matrix of its labels.

    Returns
    -------
    float
        Higher is better. It is the same for features that are larger by a factor.
    """
    rows = features.astype(np.float64)
    rows /= np.sqrt(np.mean(rows**2)) or 1.0
    columns = np.unique(truth) if truth.ndim == 1 else np.arange(truth.shape[1])
    targets = (truth[:, None] == columns if truth.ndim == 1 else truth).astype(np.float64)
    # The smaller of the two Gram matrices has all eigenvalues that are not zero.
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
    """Return the greatest log evidence of one column of labels, by picture.

    Parameters
    ----------
    squares : ndarray of shape (r,)
        The eigenvalues of the Gram matrix that are not zero.
    projected : ndarray of shape (r,)
        The labels along its eigenvectors.
    rest : float
        The squared length of what of the labels no feature reaches.
    count : int
        Of pictures.
    """
    alpha = beta = 1.0
    for _ in range(_ROUNDS):
        shrunk = alpha + beta * squares
        known = float((beta * squares / shrunk).sum())
        weight = float((squares * (beta * projected / shrunk) ** 2).sum())
        error = float(((alpha * projected / shrunk) ** 2).sum()) + rest
        before = alpha, beta
        alpha = float(np.clip(known / max(weight, _LOWEST), _LOWEST, _HIGHEST))
        beta = float(np.clip((count - known) / max(error, _LOWEST), _LOWEST, _HIGHEST))
        if max(abs(np.log(alpha / before[0])), abs(np.log(beta / before[1]))) < _STILL:
            break
    shrunk = alpha + beta * squares
    weight = float((squares * (beta * projected / shrunk) ** 2).sum())
    error = float(((alpha * projected / shrunk) ** 2).sum()) + rest
    evidence = count * np.log(beta / (2 * np.pi)) - np.log(shrunk / alpha).sum() - beta * error - alpha * weight
    return float(evidence / (2 * count))
