"""The network with one head per kind of label, the training step, and the checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import colours
import describing
import keras
import numpy as np
import tensorflow as tf
from feeding import Batch
from formulas import Counts
from numpy.typing import NDArray

from transfer_cli.catalog.backbones import find
from transfer_cli.models import backbone

DENSE = "conv_pw_11_relu"
"""The last feature map of stride 16; input of the heads per position."""


class Learner:
    """A backbone in training.

    Parameters
    ----------
    name : str
        Name of the backbone in the catalog.
    size : int
    counts : Counts
    weights : dict of str to float
        Weight of the loss of each head.
    rate, decay : float
        The highest learning rate of AdamW, and its weight decay.
    steps, warmup : int
        Number of steps, and of warm-up steps; then the learning rate decays by a cosine schedule.
    average : float
        Decay of the moving average of the weights, which is published.
    """

    def __init__(
        self, name: str, size: int, counts: Counts, weights: dict[str, float], *, rate: float, decay: float,
        steps: int, warmup: int = 500, average: float = 0.999, seed: int = 0,
    ) -> None:  # fmt: skip
        self.network = backbone.build(find(name), weights="none", size=size, seed=seed)
        self.network.trainable = True
        outputs = {
            "shape": counts.shapes,
            "fill": counts.textures + 1,
            "ground": counts.textures + 1,
            "colour": colours.NAMES,
        }
        heads = {
            head: keras.layers.Dense(count, name=head)(self.network.output)
            for head, count in outputs.items()
            if weights[head]
        }
        places = self.network.get_layer(DENSE).output
        for head, count in {**describing.PLACES, "texture": counts.textures + 1}.items():
            if weights[head]:
                heads[head] = keras.layers.Conv2D(count, 1, name=head)(places)
        self.model = keras.Model(self.network.inputs[0], heads)
        self.optimizer = keras.optimizers.AdamW(rate, weight_decay=decay, clipnorm=5.0)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.model.trainable_variables)
        self.averages = [tf.Variable(variable.value) for variable in self.network.weights]
        self.weights, self.rate, self.steps, self.warmup, self.average = weights, rate, steps, warmup, average
        self.done = 0
        self._compiled = tf.function(self._step)
        self._predict = tf.function(lambda images: self.model(images, training=False))
        self._features = tf.function(lambda images: self.network(images, training=False))

    def step(self, batch: Batch) -> dict[str, Any]:
        """Train on one batch; return the losses as tensors."""
        rise = min(1.0, (self.done + 1) / self.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self.done / self.steps)))
        self.optimizer.learning_rate.assign(self.rate * rise * fall)
        keep = min(self.average, (1 + self.done) / (10 + self.done))
        self.done += 1
        return self._compiled(batch.images, batch._asdict(), tf.constant(keep, tf.float32))

    def _step(self, images: Any, known: dict[str, Any], keep: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            heads = self.model(images, training=True)
            losses = {head: _loss(head, known, output) for head, output in heads.items()}
            total = tf.add_n([self.weights[head] * loss for head, loss in losses.items()])
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(total, variables), variables)
        for mean, variable in zip(self.averages, self.network.weights, strict=True):
            mean.assign(keep * mean + (1 - keep) * variable.value)
        return losses

    def predict(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs of all heads for images."""
        return {head: output.numpy() for head, output in self._predict(images).items()}

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of images."""
        return self._features(images).numpy()

    def averaged(self) -> list[NDArray[np.float32]]:
        """Return the moving averages of the backbone's weights, in the order of the network."""
        return [mean.numpy() for mean in self.averages]

    def state(self) -> list[Any]:
        """Return all variables of the checkpoint."""
        return [*self.model.variables, *self.optimizer.variables, *self.averages]

    def load_backbone(self, arrays: list[NDArray[np.float32]]) -> None:
        """Load the weights of the backbone; the heads stay random."""
        for variable, mean, array in zip(self.network.weights, self.averages, arrays, strict=True):
            variable.assign(array)
            mean.assign(array)

    def save(self, path: Path, elapsed: float) -> None:
        """Write a checkpoint atomically."""
        beside = path.with_name(f"being-written-{path.name}")
        arrays = {f"v{number}": variable.numpy() for number, variable in enumerate(self.state())}
        np.savez(beside, done=self.done, elapsed=elapsed, **arrays)
        beside.replace(path)

    def restore(self, path: Path) -> float:
        """Load a checkpoint; return the training time so far, in seconds."""
        with np.load(path) as stored:
            for number, variable in enumerate(self.state()):
                variable.assign(stored[f"v{number}"])
            self.done = int(stored["done"])
            return float(stored["elapsed"])


def _loss(head: str, known: dict[str, Any], output: Any) -> Any:
    if head == "texture":
        # Only positions that are inside or outside the shape as a whole.
        covered = tf.reduce_mean(known["mask"], axis=-1)
        inside = covered > 0.9
        one = tf.cast(inside | (covered < 0.1), tf.float32)
        truth = tf.where(inside, known["fill"][:, None, None], known["ground"][:, None, None])
        return tf.reduce_sum(one * tf.nn.sparse_softmax_cross_entropy_with_logits(truth, output)) / tf.reduce_sum(one)
    if head == "mask":
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(known[head], output))
    if head in describing.PLACES:
        return tf.reduce_mean((known[head] - output) ** 2)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(known[head], output))
