"""The layers of the network that a recipe describes, with shapes and costs; without Keras, before any image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from transfer_cli.catalog.backbones import DESCRIBED, BackboneSpec
from transfer_cli.catalog.planned_layer import IMAGES, PlannedLayer
from transfer_cli.recipe.network import Block, Network

DEFAULT_SIZE = 32
"""Side of the images in pixels if the recipe does not set it."""

_POOLINGS = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D", "flatten": "Flatten"}
_WINDOWS = {"max": ("MaxPooling2D", "maximum"), "avg": ("AveragePooling2D", "average")}
_SATURATING = ("tanh", "sigmoid", "linear")
"""Activations with the initial weights of Glorot and Bengio (2010); the others have those of He et al. (2015)."""
_MOST_PARAMETERS = 10**9
"""Of one network: 4 GB."""


def spec_of(network: Network, size: int | None, pooling: str) -> BackboneSpec:
    """Return a network as a backbone, with all its layers.

    Parameters
    ----------
    network : Network
    size : int or None
        Side of the images in pixels; None means `DEFAULT_SIZE`.
    pooling : {"avg", "max", "flatten"}
        How the last feature map becomes a vector.

    Raises
    ------
    ValueError
        If a layer does not fit the shape that it receives; the message names both.
    """
    size = size or DEFAULT_SIZE
    layers = plan(network, size, pooling)
    return replace(
        DESCRIBED,
        size=size,
        width=layers[-1].numbers,
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        layers=layers,
    )


def plan(network: Network, size: int, pooling: str) -> tuple[PlannedLayer, ...]:
    """Return the layers of a network in graph order, up to the features.

    Parameters
    ----------
    network : Network
    size : int
        Side of the images in pixels.
    pooling : {"avg", "max", "flatten"}
        How the last feature map becomes a vector.

    Raises
    ------
    ValueError
        If a layer does not fit the shape that it receives, or the network is too large.
    """
    builder = _Plan(size)
    for number, block in enumerate(network.block, start=1):
        _add_block(builder, f"block{number}", f"block {number}", block, block.activation or network.activation)
    builder.pool_globally(pooling)
    for number, units in enumerate(network.dense, start=1):
        builder.dense(f"dense{number}", units, network.activation)
        builder.dropout(f"dense{number}_dropout", network.dropout)
    return tuple(builder.layers)


def _add_block(builder: _Plan, name: str, title: str, block: Block, activation: str) -> None:
    number = 0
    for unit in range(1, block.repeat + 1):
        start = builder.last
        for position in range(1, block.convolutions + 1):
            number += 1
            stride = block.stride if number == 1 else 1
            # The first layer bears the name of the block, so that a stage can unfreeze from it.
            layer = name if number == 1 else f"{name}_conv{number}"
            builder.conv(layer, title, block, stride, block.kernel, block.padding, activation)
            builder.norm(f"{name}_norm{number}", block)
            if block.residual and position == block.convolutions:
                _add_shortcut(builder, name, title, block, unit, start)
            builder.add(f"{name}_activation{number}", "Activation", builder.shape, activation=activation)
    if block.pool is not None:
        builder.pool(f"{name}_pool", title, block.pool, block.pool_size)
    builder.dropout(f"{name}_dropout", block.dropout)


def _add_shortcut(
    builder: _Plan, name: str, title: str, block: Block, unit: int, start: tuple[tuple[str, ...], tuple[int, ...]]
) -> None:
    """Add the input of a unit to its output; through a convolution of 1 x 1 if their shapes differ."""
    main = builder.last
    if start[1] != main[1]:
        builder.last = start
        stride = block.stride if unit == 1 else 1
        builder.conv(f"{name}_shortcut{unit}", title, block, stride, 1, "same", "linear")
        builder.norm(f"{name}_shortcut_norm{unit}", block)
        start = builder.last
    builder.last = ((*main[0], *start[0]), main[1])
    builder.add(f"{name}_add{unit}", "Add", main[1])


class _Plan:
    """A growing list of layers.

    Attributes
    ----------
    layers : list of PlannedLayer
    last : (tuple of str, tuple of int)
        Names and shape of what the next layer is applied to.
    """

    def __init__(self, size: int) -> None:
        self.layers: list[PlannedLayer] = []
        self.last: tuple[tuple[str, ...], tuple[int, ...]] = ((IMAGES,), (size, size, 3))
        self._parameters = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.last[1]

    def add(
        self,
        name: str,
        kind: str,
        shape: tuple[int, ...],
        parameters: int = 0,
        multiply_adds: int = 0,
        **settings: Any,
    ) -> None:
        self._parameters += parameters
        if self._parameters > _MOST_PARAMETERS:
            raise ValueError(
                f"{name} has {parameters:,} parameters: {' x '.join(map(str, self.shape))} numbers reach it. Expected "
                f"at most {_MOST_PARAMETERS:,} in the network. Use smaller images, fewer units, or more pooling."
            )
        self.layers.append(PlannedLayer(name, kind, self.last[0], shape, settings, parameters, multiply_adds))
        self.last = ((name,), shape)

    def conv(
        self, name: str, title: str, block: Block, stride: int, kernel: int, padding: str, activation: str
    ) -> None:
        side, _, channels = self.shape
        if padding == "valid" and kernel > side:
            raise ValueError(
                f"{title}: kernel {kernel} does not fit on a map of {self._map}. Expected a kernel of at most {side}, "
                "padding = same, or less stride and pooling before it."
            )
        out = math.ceil(side / stride) if padding == "same" else (side - kernel) // stride + 1
        numbers = kernel * kernel * channels * block.filters
        self.add(
            name,
            "Conv2D",
            (out, out, block.filters),
            numbers + (0 if block.batch_norm else block.filters),
            numbers * out * out,
            filters=block.filters,
            kernel_size=kernel,
            strides=stride,
            padding=padding,
            use_bias=not block.batch_norm,
            kernel_initializer=_initializer(activation),
        )

    def norm(self, name: str, block: Block) -> None:
        if block.batch_norm:
            self.add(name, "BatchNormalization", self.shape, 4 * self.shape[-1])

    def pool(self, name: str, title: str, pool: str, window: int) -> None:
        side, _, channels = self.shape
        kind, word = _WINDOWS[pool]
        if window > side:
            raise ValueError(
                f"{title}: {word} pooling of {window} x {window} does not fit on a map of {self._map}. Expected less "
                "stride and pooling, or larger images."
            )
        self.add(name, kind, (side // window, side // window, channels), pool_size=window)

    def dropout(self, name: str, rate: float) -> None:
        if rate:
            self.add(name, "Dropout", self.shape, rate=rate)

    def pool_globally(self, pooling: str) -> None:
        shape = (math.prod(self.shape),) if pooling == "flatten" else (self.shape[-1],)
        self.add(f"{pooling}_features", _POOLINGS[pooling], shape)

    def dense(self, name: str, units: int, activation: str) -> None:
        numbers = self.shape[0] * units
        self.add(
            name,
            "Dense",
            (units,),
            numbers + units,
            numbers,
            units=units,
            activation=activation,
            kernel_initializer=_initializer(activation),
        )

    @property
    def _map(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]} pixels with {self.shape[2]} channels"


def _initializer(activation: str) -> str:
    return "glorot_uniform" if activation in _SATURATING else "he_normal"
