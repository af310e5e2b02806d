"""Features of every depth of a network: its feature maps from shallow to deep, pooled and joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.models.feature_levels import level_maps, top_map
from transfer_cli.models.freezing import cut_points

_POOLED = "pooled_depth_"
_TINY = 1e-6
"""As in `feature_levels`: the columns of the levels are the same features."""


@dataclass(frozen=True)
class Depth:
    """A feature map of a network, and which columns of its features are pooled from it.

    Attributes
    ----------
    layer : str
        The layer whose output it is.
    number : int
        How many layers with a kernel there are up to it.
    height, width, channels : int
    start : int
        The first of its columns; there is one per channel.
    is_level : bool
        Whether it is one of the joined levels (`feature_levels.level_maps`).
    """

    layer: str
    number: int
    height: int
    width: int
    channels: int
    start: int
    is_level: bool

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.start, self.start + self.channels)


def pool_depths(network: keras.Model) -> keras.Model:
    """Return the network from images to the joined features of all depths.

    The features of a depth are computed as those of a level (`feature_levels.pool_levels`): for each channel the signed
    square root of its mean over the positions.

    Parameters
    ----------
    network : keras.Model
        Built with the pooling ``levels``.

    Raises
    ------
    ModelError
        If its features are not pooled from a feature map.
    """
    top = top_map(network)
    if top is None:
        raise ModelError("The network has no feature maps. Expected a convolutional network.")
    images = network.inputs[0]
    maps = [tensor for tensor, _, _ in _depth_maps(images, top)]
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"{_POOLED}{number}")(each) for number, each in enumerate(maps, 1)
    ]
    joined = keras.layers.Concatenate(name=f"{_POOLED}all")(pooled) if len(pooled) > 1 else pooled[0]
    roots = joined / keras.ops.sqrt(keras.ops.absolute(joined) + _TINY)
    model = keras.Model(images, keras.layers.Identity(name="depth_features")(roots), name=f"{network.name}_depths")
    model.trainable = False
    return model


def depths_of(network: keras.Model) -> list[Depth]:
    """Return the depths of a network that `pool_depths` made, from shallow to deep."""
    numbers = [int(rest) for layer in network.layers if (rest := layer.name.removeprefix(_POOLED)).isdecimal()]
    top = network.get_layer(f"{_POOLED}{max(numbers)}").input
    depths: list[Depth] = []
    for tensor, number, is_level in _depth_maps(network.inputs[0], top):
        start = depths[-1].columns.stop if depths else 0
        name = tensor._keras_history.operation.name
        height, width, channels = tensor.shape[1:]
        depths.append(Depth(name, number, height, width, channels, start, is_level))
    return depths


def _depth_maps(images: Any, top: Any) -> list[tuple[Any, int, bool]]:
    """Return the feature maps, each with the number of layers with a kernel up to it, and whether it is a level.

    Of several maps between two layers with a kernel, such as a convolution, its normalisation and its activation, the
    last one is used, beside the levels.
    """
    network = keras.Model(images, top)
    levels = {id(tensor) for tensor in level_maps(images, top)}
    points = {id(operation.output) for operation in cut_points(network) if _is_map(operation)}
    maps: list[tuple[Any, int, bool]] = []
    number = 0
    # All operations before a cut point lead to it, so any topological order will do.
    for operation in network.operations:
        number += _has_kernel(operation)
        tensor = operation.output
        is_level = id(tensor) in levels
        if not is_level and (not number or id(tensor) not in points):
            continue
        if maps and maps[-1][1:] == (number, False):
            maps.pop()
        maps.append((tensor, number, is_level))
    return maps


def _is_map(operation: Any) -> bool:
    # Padding only adds empty positions.
    return len(operation.output.shape) == 4 and not isinstance(operation, keras.layers.ZeroPadding2D)


def _has_kernel(operation: Any) -> bool:
    weights = operation.weights if isinstance(operation, keras.layers.Layer) else []
    return any(len(variable.shape) > 1 for variable in weights)
