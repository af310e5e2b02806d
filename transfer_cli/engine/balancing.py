"""How classes of unequal sizes are balanced in a training: the order of its pictures, its loss, and where it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import balances
from transfer_cli.catalog.balances import PerClass
from transfer_cli.choices import Balance

Rows = NDArray[np.int64]
_SURE = 1e-7


@dataclass(frozen=True)
class Balancing:
    """A method of the catalog for the classes of one folder.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        What a picture of each class counts in the loss.
    offsets : ndarray of shape (k,)
        Added to the logits in training, and not afterwards.
    gamma : float
        Of the focal loss; 0: none.
    oversamples : bool
    fitted_weights : ndarray of shape (k,) or None
        What a picture of each class counts for a classifier that is fitted at once; None where all count the same.
    """

    weights: PerClass
    offsets: PerClass
    gamma: float
    oversamples: bool
    fitted_weights: PerClass | None

    @classmethod
    def of(cls, balance: Balance, truth: Rows, classes: int) -> Balancing:
        """Return the method of a recipe for training pictures of these classes."""
        spec, counts = balances.find(balance.method), np.maximum(np.bincount(truth, minlength=classes), 1)
        weights = spec.weights(counts, balance)
        # To be shown more often is to count for more.
        shown = balances.balanced(counts, balance) if spec.oversamples else weights
        return cls(
            weights,
            spec.offsets(counts, balance),
            balance.gamma if spec.focal else 0.0,
            spec.oversamples,
            None if (shown == shown[0]).all() else shown,
        )

    def order(self, truth: Rows, random: np.random.Generator) -> Rows:
        """Return the row numbers of an epoch: each once, or as many of each class, rare ones several times.

        Parameters
        ----------
        truth : ndarray of shape (n,), int
        random : numpy.random.Generator
        """
        if not self.oversamples:
            return random.permutation(len(truth))
        present = np.unique(truth)
        drawn = []
        for place, column in enumerate(present):
            members = np.flatnonzero(truth == column)
            count = len(truth) // len(present) + (place < len(truth) % len(present))
            rounds = [random.permutation(members) for _ in range(-(-count // len(members)))]
            drawn.append(np.concatenate(rounds)[:count])
        return random.permutation(np.concatenate(drawn))

    def losses(self, truth: Any, target: Any, logits: Any) -> Any:
        """Return the loss of each picture.

        Parameters
        ----------
        truth : tensor of shape (n, k)
            The shares of the classes.
        target : tensor of shape (n, k)
            The same, smoothed.
        logits : tensor of shape (n, k)
        """
        if self.offsets.any():
            logits += tf.constant(self.offsets, logits.dtype)
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        if self.gamma:
            right = tf.reduce_sum(truth * tf.nn.softmax(logits), axis=1)
            losses *= tf.maximum(1 - right, _SURE) ** self.gamma
        if (self.weights != 1).any():
            losses *= tf.linalg.matvec(truth, tf.constant(self.weights, logits.dtype))
        return losses
