"""The layers of a network: shapes, parameters, memory, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import keras

BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class LayerRow:
    """One row of a layer table; numbers are counts per image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    activations: int
    parameters: int
    multiply_adds: int


def layer_table(model: keras.Model) -> list[LayerRow]:
    """Return the layers of a model in graph order, with those of nested models."""
    rows = []
    for layer in leaves(model):
        shape = tuple(layer.output.shape[1:])
        counts = math.prod(shape), layer.count_params(), multiply_adds(layer)
        rows.append(LayerRow(layer.name, type(layer).__name__, shape, *counts))
    return rows


def leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model in graph order, with those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def memory(table: Sequence[LayerRow]) -> dict[str, int]:
    """Return the memory that the network of a layer table needs, in numbers, and in bytes for a batch of one image.

    Training keeps the outputs of all layers (activations) for the backward pass; prediction needs the largest two
    consecutive ones.
    """
    outputs = [row.activations for row in table]
    parameters, activations = sum(row.parameters for row in table), sum(outputs)
    bytes_of = {
        "parameter": parameters,
        "activation": activations,
        "inference": parameters + max(map(sum, pairwise(outputs))),
        "sgd": 2 * parameters + activations,
        "adam": 4 * parameters + activations,
    }
    sizes = {f"{name}_bytes": count * BYTES_PER_NUMBER for name, count in bytes_of.items()}
    return {"parameters": parameters, "activations": activations, **sizes}


def memory_summary(needed: Mapping[str, int]) -> list[str]:
    """Return what `memory` returned as text, in MB of 10^6 bytes."""
    mb = {key: f"{value / 1e6:,.0f} MB" for key, value in needed.items()}
    return [
        f"{needed['parameters']:,} parameters, {mb['parameter_bytes']}; "
        f"{needed['activations'] / 1e6:.1f} M activations, {mb['activation_bytes']} per image",
        f"prediction of one image: {mb['inference_bytes']} (weights and the two largest consecutive outputs)",
        f"training with SGD: {mb['sgd_bytes']} (weights and gradients, activations of one image)",
        f"training with Adam: {mb['adam_bytes']} (weights, gradients, two moments, activations of one image)",
    ]


def multiply_adds(layer: keras.Layer) -> int:
    """Return the multiply-adds of a layer per image; 0 for layers other than convolutions and dense layers."""
    shape = layer.output.shape
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return int(shape[1] * shape[2] * sum(math.prod(kernel) for kernel in kernels))
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return int(shape[1] * shape[2] * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape) * math.prod(shape[1:-1]))
    return 0
