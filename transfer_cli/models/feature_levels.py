"""Features of several levels of a network: its last feature map at each resolution, pooled and joined."""

from __future__ import annotations

from typing import Any

import keras

from transfer_cli.models.freezing import cut_points

LEVELS = "levels"
"""The pooling that joins them, in a recipe."""
LEVEL = "level_"
"""Names of the poolings begin with it; the lowest level is the first."""
FEATURES = "level_features"
_SAME_RESOLUTION = 0.75
"""A level ends where the side of the feature maps falls below this share: convolutions without padding shrink it, too,
but by less."""
_TINY = 1e-6


def level_maps(images: Any, top: Any) -> list[Any]:
    """Return the last feature map of each resolution between the images and `top`, which is the last of them.

    Only maps are used that all paths of the network pass through, as a residual block's output. Maps of the size of the
    images are left out.

    Parameters
    ----------
    images, top : KerasTensor
        The input of a network, and the feature map that its features are pooled from.
    """
    maps = [each.output for each in cut_points(keras.Model(images, top)) if _is_map(each)]
    levels: list[Any] = []
    for tensor in [each for each in maps if each.shape[1] <= _SAME_RESOLUTION * images.shape[1]]:
        if levels and tensor.shape[1] > _SAME_RESOLUTION * levels[-1].shape[1]:
            levels.pop()
        levels.append(tensor)
    # The features of the last map are those of pooling avg, whatever paths lead to it.
    return [*(each for each in levels if each.shape[1] > top.shape[1] / _SAME_RESOLUTION), top]


def pool_levels(images: Any, top: Any) -> Any:
    """Return the joined features of all levels: for each channel the square root of its mean over the positions.

    Lower levels hold textures and shapes that the last one no longer tells apart (Head2Toe, Evci et al. 2022). The root
    makes rare strong activations count less, as for colour histograms (Arandjelović and Zisserman 2012); it keeps the
    sign.

    Parameters
    ----------
    images, top : KerasTensor
        As for `level_maps`.

    Returns
    -------
    KerasTensor of shape (n, width), float32
    """
    maps = level_maps(images, top)
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"{LEVEL}{number}")(each) for number, each in enumerate(maps, start=1)
    ]
    joined = keras.layers.Concatenate(name=f"{LEVEL}all")(pooled) if len(pooled) > 1 else pooled[0]
    # Without the small number a channel that is 0 everywhere would have no gradient.
    roots = joined / keras.ops.sqrt(keras.ops.absolute(joined) + _TINY)
    return keras.layers.Identity(name=FEATURES)(roots)


def with_levels(features: keras.Model) -> keras.Model:
    """Return a network that ends in an average pooling with features of all levels instead; it shares the layers."""
    images = features.inputs[0]
    return keras.Model(images, pool_levels(images, features.layers[-1].input), name=f"{features.name}_{LEVELS}")


def top_map(network: keras.Model) -> Any:
    """Return the feature map of the highest level of a network that `pool_levels` made; None for other networks."""
    numbers = [int(rest) for layer in network.layers if (rest := layer.name.removeprefix(LEVEL)).isdecimal()]
    return network.get_layer(f"{LEVEL}{max(numbers)}").input if numbers else None


def _is_map(operation: Any) -> bool:
    # Padding only adds empty positions.
    return len(operation.output.shape) == 4 and not isinstance(operation, keras.layers.ZeroPadding2D)
