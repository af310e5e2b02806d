"""Several GPUs of one machine, each with an equal share of every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

from transfer_cli.errors import RecipeError

Gradients = Callable[[Any, Any, Any], tuple[Any, Any, list[Any]]]


def find_gpus(count: int | Literal["auto"]) -> list[str]:
    """Return the names of the GPUs to train on; an empty list for the CPU.

    Raises
    ------
    RecipeError
        When there are fewer than `count`.
    """
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if count == "auto":
        return gpus
    if count > len(gpus):
        raise RecipeError(
            f"hardware.gpus is {count}, but TensorFlow finds {len(gpus) or 'no'} GPU{'s' * (len(gpus) != 1)} on this "
            "machine.",
            hint="Use --set hardware.gpus=auto for all that are available.",
        )
    return gpus[:count]


def split_over_gpus(gradients: Gradients, gpus: Sequence[str]) -> Gradients:
    """Return the same function with the rows of its batch split evenly over some devices.

    Variables stay where they are; their values are sent to the devices, and the gradients are summed, within one graph,
    whose parts run at the same time.

    Parameters
    ----------
    gradients : callable
        From inputs, targets and the number of rows to divide by to the mean loss, the correct images and the gradients.
        The results for the parts of a batch sum to those of the batch.
    gpus : sequence of str
        Fewer than two: the function is returned unchanged.
    """
    if len(gpus) < 2:
        return gradients

    def sum_of_parts(inputs: Any, truth: Any, rows: Any) -> tuple[Any, Any, list[Any]]:
        count = tf.shape(truth)[0]
        parts = []
        for number, device in enumerate(gpus):
            share = slice(count * number // len(gpus), count * (number + 1) // len(gpus))
            with tf.device(device):
                parts.append(gradients(inputs[share], truth[share], rows))
        losses, hits, changes = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(hits), [tf.add_n(each) for each in zip(*changes, strict=True)]

    return sum_of_parts
