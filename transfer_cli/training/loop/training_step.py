"""A compiled training step: forward pass, loss, gradients, optimizer and moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from transfer_cli.catalog import optimizers
from transfer_cli.models.freezing import FrozenSplit
from transfer_cli.recipe.stages import Stage
from transfer_cli.training.loop import multi_gpu
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.context import StageContext
from transfer_cli.training.loop.gradient_accumulation import GradientAccumulator
from transfer_cli.training.loop.mixed_precision import network_in_precision, with_loss_scaling
from transfer_cli.training.loop.stage_inputs import Batch


class TrainingStep:
    """The training step of a stage, and the prediction with the weights that it trains.

    Parameters
    ----------
    context : StageContext
        The layers of its network are marked as trainable or frozen.
    stage : Stage
    frozen_split : FrozenSplit
    balancing : Balancing
    reads_images : bool
        Whether training batches are images; else they are outputs of the frozen layers.

    Attributes
    ----------
    balancing : Balancing
    variables : list of keras.Variable
        The trained weights.
    optimizer : keras.optimizers.Optimizer
    averages : list of tf.Variable
        The exponential moving average of each trained weight; empty if the stage keeps none.
    """

    def __init__(
        self, context: StageContext, stage: Stage, frozen_split: FrozenSplit, balancing: Balancing, reads_images: bool
    ) -> None:
        self._context, self._network, self._stage, self._frozen_split = context, context.network, stage, frozen_split
        self.balancing, self._reads_images = balancing, reads_images
        pairs = [(variable, stage.layer_decay**depth) for variable, depth in frozen_split.variables()]
        pairs += [(variable, 1.0) for layer in self._network.head.layers for variable in layer.trainable_variables]
        self.variables = [variable for variable, _ in pairs]
        optimizer = optimizers.find(stage.optimizer).build(
            stage.learning_rate,
            stage.optimizer_settings(),
            clip=stage.gradient_clip,
            rates=[rate for _, rate in pairs] if stage.layer_decay < 1 else None,
        )
        hardware = context.recipe.hardware
        self.optimizer = with_loss_scaling(optimizer, hardware.precision)
        self.optimizer.build(self.variables)
        self.averages = [tf.Variable(variable.value) for variable in self.variables] if stage.ema else []
        self._gpus = multi_gpu.find_gpus(hardware.gpus)
        self._gradients = multi_gpu.split_over_gpus(self._compute_gradients, self._gpus)
        self._accumulator: GradientAccumulator | None = None

    def compile(self) -> None:
        """Trace the training step; the function that predicts is traced when it is first called."""

        @tf.function(input_signature=self._signature(), autograph=False)
        def step(inputs: Any, truth: Any, rate: Any) -> Any:
            rows = None if len(self._gpus) < 2 else tf.cast(tf.shape(truth)[0], tf.float32)
            loss, hits, gradients = self._gradients(inputs, truth, rows)
            self._apply(gradients, rate)
            return loss, hits

        source = self._frozen_output()

        @tf.function(input_signature=[tf.TensorSpec(source.shape, source.dtype)], autograph=False)
        def predict(inputs: Any) -> Any:
            return self._network.activation(self._network.head(self.forward(inputs), training=False))

        with network_in_precision(self._context):
            step.get_concrete_function()
        self.compiled, self.predict = step, predict

    def close(self) -> None:
        """Release the compiled functions: they refer to this object and it to them, a cycle that can live long."""
        del self.compiled, self.predict, self._gradients, self._accumulator

    def run(self, batches: Iterator[Batch], sizes: list[int], rate: np.float32) -> Iterator[tuple[float, int]]:
        """Train one step; yield each micro-batch's part of the sum of the losses, and its number of correct images."""
        if len(sizes) == 1:
            loss, hits = self.compiled(*next(batches), rate)
            yield float(loss) * sizes[0], int(hits)
            return
        if self._accumulator is None:
            with network_in_precision(self._context):
                self._accumulator = GradientAccumulator.build(
                    self._gradients, self._apply, self._signature(), self.variables
                )
        for _ in sizes:
            loss, hits = self._accumulator.accumulate(*next(batches), sum(sizes))
            yield float(loss) * sum(sizes), int(hits)
        self._accumulator.apply(rate)

    def reset(self) -> None:
        """Discard the gradients of a step that was not completed."""
        if self._accumulator is not None:
            self._accumulator.reset()

    def forward(self, inputs: Any, training: bool = False) -> Any:
        """Return the features of outputs of the frozen layers.

        A backbone with BatchNorm runs in inference mode even while its layers are trained: it keeps its moving
        statistics, which the batches of a small data set would spoil (keras.io, "Transfer learning & fine-tuning").
        """
        training = training and not self._network.has_norms
        return inputs if self._frozen_split.upper is None else self._frozen_split.upper(inputs, training=training)

    def _signature(self) -> list[tf.TensorSpec]:
        """Return the signature of a gradient computation: inputs, targets, and a number."""
        source = self._network.features.inputs[0] if self._reads_images else self._frozen_output()
        classes = self._network.head.output_shape[-1]
        return [
            tf.TensorSpec(source.shape, source.dtype),
            tf.TensorSpec([None, classes], tf.float32),
            tf.TensorSpec([], tf.float32),
        ]

    def _frozen_output(self) -> Any:
        frozen = self._frozen_split.frozen
        return self._network.features.inputs[0] if frozen is None else frozen.output

    def _compute_gradients(self, inputs: Any, truth: Any, rows: Any) -> tuple[Any, Any, list[Any]]:
        """Return the mean loss, the correct images and the gradients of a batch.

        With `rows`, loss and gradients are those of a micro-batch: its part of the mean over a step of `rows` images.
        """
        head, smoothing = self._network.head, self._stage.label_smoothing
        if self._reads_images and self._frozen_split.frozen is not None:
            inputs = self._frozen_split.frozen(inputs, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            logits = self._network.train_head(self.forward(inputs, training=True))
            losses = self.balancing.losses(truth, logits, smoothing)
            loss = tf.reduce_mean(losses) if rows is None else tf.reduce_sum(losses) / rows
            total = loss
            if head.losses:
                share = 1.0 if rows is None else tf.cast(tf.shape(truth)[0], tf.float32) / rows
                total = loss + share * tf.add_n(head.losses)
            total = self.optimizer.scale_loss(total)
        gradients = tape.gradient(total, [variable.value for variable in self.variables])
        return loss, self.balancing.hits(truth, logits), gradients

    def _apply(self, gradients: list[Any], rate: Any) -> None:
        """Update the weights, then their moving averages."""
        momentum = self._stage.ema
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply(gradients, self.variables)
        for variable, average in zip(self.variables, self.averages, strict=False):
            average.assign(momentum * average + (1 - momentum) * variable.value)
