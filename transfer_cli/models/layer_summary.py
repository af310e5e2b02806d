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
    """One line of a layer table; numbers are counts for one picture."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    activations: int
    parameters: int
    multiply_adds: int


def layer_table(model: keras.Model) -> list[LayerRow]:
    """Return the layers of a model in the order of the graph, those of nested models one by one."""
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
    """Yield the layers of a model in the order of the graph, those of nested models one by one."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


@dataclass(frozen=True)
class Memory:
    """What a network needs, counted in float32 numbers.

    Attributes
    ----------
    parameters : int
    activations : int
        Outputs of all layers for one picture: what training keeps for the way back.
    largest : int
        The largest output of a layer and the one before it, for one picture: what predicting holds at a time.
    """

    parameters: int
    activations: int
    largest: int

    def to_dict(self) -> dict[str, int]:
        """Return counts, and bytes for a batch of one picture."""
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
        """Return the same for a person, in MB of 10^6 bytes."""
        mb = {word: f"{value / 1e6:,.0f} MB" for word, value in self.to_dict().items()}
        return [
            f"{self.parameters:,} parameters, {mb['parameter_bytes']}; "
            f"{self.activations / 1e6:.1f} M activations, {mb['activation_bytes']} a picture",
            f"predicting one picture: {mb['inference_bytes']} (weights and the two largest neighbouring outputs)",
            f"plain SGD: {mb['sgd_bytes']} (weights and gradients, activations of one picture)",
            f"Adam: {mb['adam_bytes']} (weights, gradients and two moments, activations of one picture)",
        ]


def memory(table: Sequence[LayerRow]) -> Memory:
    """Return what the network of a layer table needs."""
    outputs = [row.activations for row in table]
    return Memory(
        sum(row.parameters for row in table),
        sum(outputs),
        max(map(sum, pairwise(outputs))),
    )


def multiply_adds(layer: keras.Layer) -> int:
    """Return how often a layer multiplies and adds for one picture: convolutions and dense layers; others 0."""
    shape = layer.output.shape
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return int(shape[1] * shape[2] * sum(math.prod(kernel) for kernel in kernels))
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return int(shape[1] * shape[2] * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape) * math.prod(shape[1:-1]))
    return 0
