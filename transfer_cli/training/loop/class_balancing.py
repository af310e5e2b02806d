"""Class balancing: the order of the images of an epoch, and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import class_balancing
from transfer_cli.catalog.class_balancing import PerClass
from transfer_cli.recipe.sections import Balance

Rows = NDArray[np.int64]
Truth = NDArray[np.int64]
_EPSILON = 1e-7


@dataclass(frozen=True)
class Balancing:
    """A balancing method of the catalog, applied to the classes of one data set.

    Attributes
    ----------
    weights : ndarray of shape (k,)
        Weight of an image of each class in the loss; in a multi-label task, weight of the images with a label relative
        to those without.
    offsets : ndarray of shape (k,)
        Added to the logits in training, not in prediction.
    gamma : float
        Exponent of the focal loss; 0: cross-entropy.
    oversamples : bool
        Whether every class is drawn equally often.
    weights_per_class : ndarray of shape (k,) or None
        Weight of an image of each class for the linear probe; None if all are equal.
    multi_label : bool
        Whether an image can have any number of labels.
    """

    weights: PerClass
    offsets: PerClass
    gamma: float
    oversamples: bool
    weights_per_class: PerClass | None
    multi_label: bool = False

    @classmethod
    def of(cls, balance: Balance, truth: Truth, classes: int) -> Balancing:
        """Return the method of a recipe for the training images.

        Parameters
        ----------
        balance : Balance
        truth : ndarray of shape (n,) or (n, classes), int
        classes : int
        """
        spec, multi_label = class_balancing.find(balance.method), truth.ndim == 2
        counts = np.maximum(truth.sum(axis=0) if multi_label else np.bincount(truth, minlength=classes), 1)
        weights = spec.weights(counts, balance)
        if multi_label and spec.weights is class_balancing.balanced:
            # The images with a label have the same total weight as those without.
            weights = np.maximum(len(truth) - counts, 1) / counts
        weights_per_class = None if multi_label else spec.weights_per_class(counts, balance)
        gamma = balance.gamma if spec.focal else 0.0
        return cls(weights, spec.offsets(counts, balance), gamma, spec.oversamples, weights_per_class, multi_label)

    def order(self, truth: Truth, random: np.random.Generator) -> Rows:
        """Return the order of the images in an epoch: each once or, if oversampling, equally many of each class.

        Parameters
        ----------
        truth : ndarray of shape (n,) or (n, k), int
        random : numpy.random.Generator
        """
        if not self.oversamples:
            return random.permutation(len(truth))
        present = np.unique(truth)
        drawn = []
        for number, column in enumerate(present):
            members = np.flatnonzero(truth == column)
            count = len(truth) // len(present) + (number < len(truth) % len(present))
            rounds = [random.permutation(members) for _ in range(-(-count // len(members)))]
            drawn.append(np.concatenate(rounds)[:count])
        return random.permutation(np.concatenate(drawn))

    def losses(self, truth: Any, logits: Any, smoothing: float = 0.0) -> Any:
        """Return the loss of each image in nats; in a multi-label task, the mean over its labels.

        Parameters
        ----------
        truth : tensor of shape (n, k)
            Target probabilities.
        logits : tensor of shape (n, k)
        smoothing : float
            Share of the target that is spread over all classes, or over both values of a label.
        """
        if self.multi_label:
            losses = tf.nn.sigmoid_cross_entropy_with_logits((1 - smoothing) * truth + smoothing / 2, logits)
            probability = tf.sigmoid(logits)
            right = truth * probability + (1 - truth) * (1 - probability)
            weights = 1 + truth * tf.constant(self.weights - 1, logits.dtype)
        else:
            if self.offsets.any():
                logits += tf.constant(self.offsets, logits.dtype)
            target = (1 - smoothing) * truth + smoothing / truth.shape[1]
            losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
            right = tf.reduce_sum(truth * tf.nn.softmax(logits), axis=1)
            weights = tf.linalg.matvec(truth, tf.constant(self.weights, logits.dtype))
        if self.gamma:
            losses *= tf.maximum(1 - right, _EPSILON) ** self.gamma
        if (self.weights != 1).any():
            losses *= weights
        return tf.reduce_mean(losses, axis=1) if self.multi_label else losses

    def hits(self, truth: Any, logits: Any) -> Any:
        """Return the number of correct images; with several labels, all must be correct."""
        if self.multi_label:
            right = tf.reduce_all((truth >= 0.5) == (logits >= 0), axis=1)
        else:
            right = tf.argmax(logits, axis=1) == tf.argmax(truth, axis=1)
        return tf.reduce_sum(tf.cast(right, tf.int32))
