"""Gradient accumulation: one optimizer step from several micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transfer_cli.training.loop.multi_gpu import Gradients

Apply = Callable[[list[Any], Any], None]


class GradientAccumulator:
    """Sums the gradients of the micro-batches of a step; see `build`.

    Its ``apply(rate)`` updates the weights by the sum, and begins the next step.

    Keras's optimizers can accumulate, too (`gradient_accumulation_steps`), but they weight every batch equally, even
    the smaller last one of an epoch, and carry an incomplete step over to the next epoch. Here every image of a step
    has the same weight, and a step ends with its epoch, so that a checkpoint needs no gradients.
    """

    def __init__(self, sums: Sequence[tf.Variable], accumulate: Any, apply: Any) -> None:
        self._sums, self._accumulate, self.apply = sums, accumulate, apply

    @classmethod
    def build(
        cls, gradients: Gradients, apply: Apply, signature: Sequence[tf.TensorSpec], variables: Sequence[Any]
    ) -> GradientAccumulator:
        """Compile the accumulation, in the precision of the block that this is called in.

        Parameters
        ----------
        gradients : callable
            From inputs, targets and the number of images of the step to this micro-batch's part of the mean loss, its
            correct images, and its part of the gradients.
        apply : callable
            From gradients and the learning rate: updates the weights.
        signature : sequence of tf.TensorSpec
            Of the arguments of `gradients`.
        variables : sequence of keras.Variable
            The trained weights.
        """
        sums = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in variables]

        @tf.function(input_signature=signature, autograph=False)
        def accumulate(inputs: Any, truth: Any, rows: Any) -> Any:
            loss, hits, parts = gradients(inputs, truth, rows)
            for total, part in zip(sums, parts, strict=True):
                total.assign_add(part)
            return loss, hits

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)], autograph=False)
        def apply_sums(rate: Any) -> None:
            apply([total.read_value() for total in sums], rate)
            for total in sums:
                total.assign(tf.zeros_like(total))

        accumulate.get_concrete_function()
        return cls(sums, accumulate, apply_sums)

    def accumulate(self, inputs: Any, truth: Any, rows: int) -> Any:
        """Add the gradients of a micro-batch; return its part of the step's mean loss, and its correct images."""
        return self._accumulate(inputs, truth, np.float32(rows))

    def reset(self) -> None:
        """Discard the gradients of a step that was not completed."""
        for total in self._sums:
            total.assign(tf.zeros_like(total))
