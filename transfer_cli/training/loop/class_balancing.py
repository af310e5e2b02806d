"""How a training is balanced and what it minimises: the order of its pictures, its loss, and where it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import class_balancing
from transfer_cli.catalog.class_balancing import Counts, PerClass
from transfer_cli.recipe.sections import Balance

Rows = NDArray[np.int64]
Truth = NDArray[np.int64]
_SURE = 1e-7


def counts_of(truth: Truth, classes: int) -> Counts:
    """Return how many pictures each class has, at least 1.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, classes), int
    classes : int
    """
    counts = truth.sum(axis=0) if truth.ndim == 2 else np.bincount(truth, minlength=classes)
    return np.maximum(counts, 1)


@dataclass(frozen=True)
class Balancing:
    """A method of the catalog for the classes of one folder.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        What a picture of each class counts in the loss; of a multi-label task what a picture that has the label counts
        more than one that has it not.
    offsets : ndarray of shape (k,)
        Added to the logits in training, and not afterwards.
    gamma : float
        Of the focal loss; 0: none.
    oversamples : bool
    fitted_weights : ndarray of shape (k,) or None
        What a picture of each class counts for a classifier that is fitted at once; None where all count the same.
    several : bool
        Whether a picture has any number of labels.
    """

    weights: PerClass
    offsets: PerClass
    gamma: float
    oversamples: bool
    fitted_weights: PerClass | None
    several: bool = False

    @classmethod
    def of(cls, balance: Balance, truth: Truth, classes: int) -> Balancing:
        """Return the method of a recipe for training pictures of these classes.

        Parameters
        ----------
        balance : Balance
        truth : ndarray of shape (n,) or (n, classes), int
        classes : int
        """
        spec, counts, several = class_balancing.find(balance.method), counts_of(truth, classes), truth.ndim == 2
        weights = spec.weights(counts, balance)
        if several and spec.weights is class_balancing.balanced:
            # Those that have a label count as much as those that do not.
            weights = np.maximum(len(truth) - counts, 1) / counts
        fitted = None if several else spec.fitted_weights(counts, balance)
        gamma = balance.gamma if spec.focal else 0.0
        return cls(weights, spec.offsets(counts, balance), gamma, spec.oversamples, fitted, several)

    def order(self, truth: Truth, random: np.random.Generator) -> Rows:
        """Return the row numbers of an epoch: each once, or as many of each class, rare ones several times.

        Parameters
        ----------
        truth : ndarray of shape (n,) or (n, k), int
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

    def losses(self, truth: Any, logits: Any, smoothing: float = 0.0) -> Any:
        """Return the loss of each picture, in nats; of a multi-label task the mean over its labels.

        Parameters
        ----------
        truth : tensor of shape (n, k)
            The shares of the classes, or of each label.
        logits : tensor of shape (n, k)
        smoothing : float
            Share of the truth that is spread over all classes, or over both answers of a label.
        """
        if self.several:
            return self._losses_of_labels(truth, logits, smoothing)
        if self.offsets.any():
            logits += tf.constant(self.offsets, logits.dtype)
        target = (1 - smoothing) * truth + smoothing / truth.shape[1]
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        if self.gamma:
            right = tf.reduce_sum(truth * tf.nn.softmax(logits), axis=1)
            losses *= tf.maximum(1 - right, _SURE) ** self.gamma
        if (self.weights != 1).any():
            losses *= tf.linalg.matvec(truth, tf.constant(self.weights, logits.dtype))
        return losses

    def hits(self, truth: Any, logits: Any) -> Any:
        """Return how many pictures are answered rightly: their class, or all of their labels."""
        if self.several:
            right = tf.reduce_all((truth >= 0.5) == (logits >= 0), axis=1)
        else:
            right = tf.argmax(logits, axis=1) == tf.argmax(truth, axis=1)
        return tf.reduce_sum(tf.cast(right, tf.int32))

    def _losses_of_labels(self, truth: Any, logits: Any, smoothing: float) -> Any:
        losses = tf.nn.sigmoid_cross_entropy_with_logits((1 - smoothing) * truth + smoothing / 2, logits)
        if self.gamma:
            probability = tf.sigmoid(logits)
            right = truth * probability + (1 - truth) * (1 - probability)
            losses *= tf.maximum(1 - right, _SURE) ** self.gamma
        if (self.weights != 1).any():
            losses *= 1 + truth * tf.constant(self.weights - 1, logits.dtype)
        return tf.reduce_mean(losses, axis=1)
