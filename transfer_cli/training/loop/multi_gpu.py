"""Several graphics cards of one machine, each with a share of every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

from transfer_cli.errors import RecipeError

Gradients = Callable[[Any, Any, Any], tuple[Any, Any, list[Any]]]


def cards(request: int | Literal["auto"]) -> list[str]:
    """Return the names of the graphics cards to train on; none where the processor does it.

    Raises
    ------
    RecipeError
        When there are fewer than asked for.
    """
    found = [device.name for device in tf.config.list_logical_devices("GPU")]
    if request == "auto":
        return found
    if request > len(found):
        raise RecipeError(
            f"hardware.gpus is {request}, but TensorFlow finds {len(found) or 'no'} graphics cards on this machine.",
            hint="Say --set hardware.gpus=auto for those there are.",
        )
    return found[:request]


def shared(gradients: Gradients, devices: Sequence[str]) -> Gradients:
    """Return the same function with the rows of its batch shared out evenly over some devices.

    Variables stay where they are; their values go to the devices, and gradients come back to be added up, within one
    graph, whose parts on different devices run at the same time.

    Parameters
    ----------
    gradients : callable
        From inputs, truth and the number of rows that it all is divided by to the mean loss, the hits and gradients.
        Its results for the parts of a batch add up to those of the batch.
    devices : sequence of str
        With one or none, it is returned as it is.
    """
    if len(devices) < 2:
        return gradients

    def together(inputs: Any, truth: Any, rows: Any) -> tuple[Any, Any, list[Any]]:
        count = tf.shape(truth)[0]
        parts = []
        for place, device in enumerate(devices):
            share = slice(count * place // len(devices), count * (place + 1) // len(devices))
            with tf.device(device):
                parts.append(gradients(inputs[share], truth[share], rows))
        losses, hits, changes = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(hits), [tf.add_n(each) for each in zip(*changes, strict=True)]

    return together
