"""Normalisation of the images by layers in front of a network that is trained from random weights.

The layers are those of Keras, so that the files of a model hold no code, and all runtimes know them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.recipe.normalization import SAMPLEWISE_STD, Normalization

_EPSILON = 1e-6
"""Added to the standard deviation of an image, as by ImageDataGenerator."""
_BATCH = 32


def normalised(images: Any, choice: Normalization) -> Any:
    """Return scaled images, a Keras tensor of shape (n, height, width, channels), normalised in the order of Keras.

    First each image by its own mean and deviation, then all by those of the training images, which `fit` sets.
    """
    if choice.samplewise:
        images = _samplewise(images, choice.samplewise)
    if choice.featurewise:
        images = layers.Normalization(axis=-1, name=choice.featurewise)(images)
    return images


def fit(network: keras.Model, images: NDArray[np.uint8], rows: NDArray[np.int64], choice: Normalization) -> None:
    """Set mean and standard deviation of the channels, where a network uses them, to those of the training images.

    Parameters
    ----------
    network : keras.Model
        It begins with `normalised`.
    images : ndarray of shape (n, size, size, 3), uint8
    rows : ndarray of int
        The training images among them.
    choice : Normalization
    """
    if not choice.featurewise:
        return
    layer = network.get_layer(choice.featurewise)
    below = keras.Model(network.inputs[0], layer.input)
    sums, squares, count = 0.0, 0.0, 0
    for start in range(0, len(rows), _BATCH):
        pixels = np.asarray(below(images[rows[start : start + _BATCH]]), np.float64)
        sums, squares = sums + pixels.sum((0, 1, 2)), squares + (pixels**2).sum((0, 1, 2))
        count += pixels[..., 0].size
    mean = sums / count
    layer.adapt_mean.assign(mean)
    if choice.featurewise_std_normalization:
        layer.adapt_variance.assign(squares / count - mean**2)
    layer.finalize_state()


def check_same(trained: keras.Model, network: keras.Model) -> None:
    """Raise ModelError if an earlier run normalises its images otherwise than the network that it is copied into."""
    of_run, own = (
        {layer.name for layer in each.layers if layer.name.startswith(("featurewise_", "samplewise_"))}
        for each in (trained, network)
    )
    if of_run != own:
        raise ModelError(
            f"The network of the earlier run normalises its images otherwise. It has the layers: "
            f"{', '.join(sorted(of_run)) or 'none'}. Received a recipe for: {', '.join(sorted(own)) or 'none'}.",
            hint="Use the section [normalization] of its recipe.toml.",
        )


def _samplewise(images: Any, word: str) -> Any:
    height, width, channels = images.shape[1:]

    def mean(tensor: Any, name: str) -> Any:
        # Pooling is over two axes only: the channels become columns.
        row = layers.Reshape((height, width * channels, 1), name=f"{name}_columns")(tensor)
        return layers.GlobalAveragePooling2D(keepdims=True, name=name)(row)

    centred = images - mean(images, word)
    if word != SAMPLEWISE_STD:
        return centred
    return centred / (keras.ops.sqrt(mean(centred * centred, f"{word}_variance")) + _EPSILON)
