"""Build the network that a recipe describes: the layers of its plan, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from transfer_cli.catalog.planned_layer import IMAGES, PlannedLayer


def build(images: Any, layers: Sequence[PlannedLayer]) -> Any:
    """Return the output of the last of some layers.

    Parameters
    ----------
    images : keras.KerasTensor of shape (n, size, size, 3), float32
        Scaled images.
    layers : sequence of PlannedLayer
        In graph order.
    """
    outputs = {IMAGES: images}
    for layer in layers:
        inputs = [outputs[name] for name in layer.inputs]
        built = getattr(keras.layers, layer.kind)(name=layer.name, **layer.settings)
        outputs[layer.name] = built(inputs if len(inputs) > 1 else inputs[0])
    return outputs[layers[-1].name]
