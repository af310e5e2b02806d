"""One step from several portions of pictures: their gradients are gathered, then followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from transfer_cli.training.loop.multi_gpu import Gradients


class GradientAccumulator:
    """The gradients of a step that is under way.

    Keras's optimizers can gather (`gradient_accumulation_steps`), but count every batch alike, the small last one of an
    epoch, too, and carry what is left of one epoch into the next. Here each picture of a step counts alike, and a step
    ends with its epoch, so that nothing is left to be kept in a checkpoint.

    Parameters
    ----------
    gradients : callable
        From inputs, truth and the pictures of the step to the share of these in its loss, their hits and the gradients.
    follow : callable
        From gradients and the learning rate: goes the step.
    signature : sequence of tf.TensorSpec
        Of the three that `gradients` takes.
    variables : sequence
        What learns.
    computing : callable
        Returns the context in which `gradients` is traced.
    """

    def __init__(
        self,
        gradients: Gradients,
        follow: Callable[[list[Any], Any], None],
        signature: Sequence[tf.TensorSpec],
        variables: Sequence[Any],
        computing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        kept = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in variables]

        @tf.function(input_signature=signature, autograph=False)
        def gather(inputs: Any, truth: Any, rows: Any) -> Any:
            loss, hits, found = gradients(inputs, truth, rows)
            for gathered, gradient in zip(kept, found, strict=True):
                gathered.assign_add(gradient)
            return loss, hits

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)], autograph=False)
        def go(rate: Any) -> None:
            follow([gathered.read_value() for gathered in kept], rate)
            for gathered in kept:
                gathered.assign(tf.zeros_like(gathered))

        with computing():
            gather.get_concrete_function()
        self._kept, self._gather, self._go = kept, gather, go

    def gather(self, inputs: Any, truth: Any, rows: int) -> tuple[Any, Any]:
        """Keep the gradients of a portion; return its share in the loss of the step, and its hits."""
        loss, hits = self._gather(inputs, truth, np.float32(rows))
        return loss, hits

    def follow(self, rate: np.float32) -> None:
        """Go the step of all that was gathered."""
        self._go(rate)

    def forget(self) -> None:
        """Let go of what a step has gathered that did not come to its end."""
        for gathered in self._kept:
            gathered.assign(tf.zeros_like(gathered))
