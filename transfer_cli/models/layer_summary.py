"""The layers of a network: shapes, parameters, memory, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
    return [
        LayerRow(
            layer.name,
            type(layer).__name__,
            tuple(layer.output.shape[1:]),
            math.prod(layer.output.shape[1:]),
            layer.count_params(),
            multiply_adds(layer),
        )
        for layer in leaves(model)
    ]


def leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model in graph order, with those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


@dataclass(frozen=True)
class Memory:
    """Memory that a network needs, as numbers of float32 values.

    Attributes
    ----------
    parameters : int
    activations : int
        Outputs of all layers per image, which training keeps for the backward pass.
    largest : int
        The largest sum of the outputs of two consecutive layers per image, which prediction needs.
    """

    parameters: int
    activations: int
    largest: int

    def to_dict(self) -> dict[str, int]:
        """Return counts, and bytes for a batch of one image."""
        return {
            "parameters": self.parameters,
            "activations": self.activations,
            "parameter_bytes": self.parameters * BYTES_PER_NUMBER,
            "activation_bytes": self.activations * BYTES_PER_NUMBER,
            "inference_bytes": (self.parameters + self.largest) * BYTES_PER_NUMBER,
            "sgd_bytes": (2 * self.parameters + self.activations) * BYTES_PER_NUMBER,
            "adam_bytes": (4 * self.parameters + self.activations) * BYTES_PER_NUMBER,
        }

    def summary(self) -> list[str]:
        """Return the same as text, in MB of 10^6 bytes."""
        mb = {key: f"{value / 1e6:,.0f} MB" for key, value in self.to_dict().items()}
        return [
            f"{self.parameters:,} parameters, {mb['parameter_bytes']}; "
            f"{self.activations / 1e6:.1f} M activations, {mb['activation_bytes']} per image",
            f"prediction of one image: {mb['inference_bytes']} (weights and the two largest consecutive outputs)",
            f"training with SGD: {mb['sgd_bytes']} (weights and gradients, activations of one image)",
            f"training with Adam: {mb['adam_bytes']} (weights, gradients, two moments, activations of one image)",
        ]


def memory(table: Sequence[LayerRow]) -> Memory:
    """Return the memory that the network of a layer table needs."""
    outputs = [row.activations for row in table]
    return Memory(
        sum(row.parameters for row in table),
        sum(outputs),
        max(map(sum, pairwise(outputs))),
    )


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
