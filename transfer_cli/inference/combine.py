"""The answers of several models about the same pictures as one answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Given = NDArray[np.float32]
"""Probabilities of m models about n pictures, of shape (m, n, k)."""

LEAST = 1e-6
"""A probability below it is taken for this: what a member holds for impossible has a logarithm, too."""


def weighted_mean(given: Given, weights: Sequence[float]) -> NDArray[np.float32]:
    """Return the weighted mean of the models' probabilities, of shape (n, k).

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32
    weights : sequence of m float
        Not negative, one of them at least positive; they need not add up to 1.
    """
    shares = np.asarray(weights, np.float64)
    return np.asarray(np.tensordot(shares / shares.sum(), given.astype(np.float64), axes=1), np.float32)


def majority(given: Given) -> NDArray[np.float32]:
    """Return the share of the models that name each class; among equals the surer ones win.

    Each model has one vote, and half a vote is shared out by the mean of all probabilities. That decides between
    classes with as many votes, and cannot turn a majority.

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32

    Returns
    -------
    ndarray of shape (n, k), float32
        The rows add up to 1; the largest number is that of the class that is named.

    Examples
    --------
    Two vote for the first class, and the third is quite sure of the second:

    >>> sure = np.array([[[0.6, 0.4]], [[0.6, 0.4]], [[0.0, 1.0]]])
    >>> majority(sure).argmax(), weighted_mean(sure, [1, 1, 1]).argmax()
    (np.int64(0), np.int64(1))
    """
    models, _, classes = given.shape
    votes = np.eye(classes)[given.argmax(axis=2)].sum(axis=0)
    sureness = given.astype(np.float64).mean(axis=0)
    return np.asarray((votes + sureness / 2) / (models + 0.5), np.float32)


def log_probabilities(given: Given) -> NDArray[np.float32]:
    """Return what a classifier on the models' answers reads: the logarithm of each probability.

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32

    Returns
    -------
    ndarray of shape (n, m * k), float32
        The classes of the first model, then those of the next.
    """
    logs = np.log(np.maximum(given.astype(np.float64), LEAST))
    return np.asarray(np.concatenate(list(logs), axis=1), np.float32)
