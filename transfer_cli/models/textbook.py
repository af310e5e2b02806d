"""Networks of the textbooks (LeNet-5, AlexNet, a small CNN), to train from scratch and compare with transfer learning.

Each function takes a Keras tensor of scaled images and returns the features or, with a number of classes, the
probabilities. A catalog row names the function. Every layer has a name, so that a stage can unfreeze from it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from transfer_cli.models.local_response import local_response


def scaled(images: Any, scheme: str) -> Any:
    """Scale a tensor of RGB images from 0 to 255 to the range that a network expects.

    Parameters
    ----------
    images : keras.KerasTensor of shape (n, height, width, 3), float32
    scheme : {"tf", "unit", "grey", "inside"}
        ``inside``: as they are; ``tf``: -1 to 1; ``unit``: 0 to 1; ``grey``: one channel, the luma of ITU-R BT.601, -1
        to 1.
    """
    if scheme == "inside":
        return images
    if scheme == "unit":
        return images / 255.0
    if scheme == "grey":
        images = keras.ops.image.rgb_to_grayscale(images, data_format="channels_last")
    return images / 127.5 - 1.0


def lenet5(images: Any, classes: int | None = None) -> Any:
    """Return LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition").

    As in today's textbooks: average pooling without weights, a second convolution over all maps of the first, a softmax
    at the end; 61,706 parameters with ten classes.
    """
    maps = layers.Conv2D(6, 5, activation="tanh", name="conv1")(images)
    maps = layers.AveragePooling2D(2, name="pool1")(maps)
    maps = layers.Conv2D(16, 5, activation="tanh", name="conv2")(maps)
    maps = layers.AveragePooling2D(2, name="pool2")(maps)
    row = layers.Flatten(name="flatten")(maps)
    row = layers.Dense(120, activation="tanh", name="dense1")(row)
    row = layers.Dense(84, activation="tanh", name="dense2")(row)
    return _with_top(row, classes)


def alexnet(images: Any, classes: int | None = None) -> Any:
    """Return AlexNet (Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks").

    For one device (no grouped convolutions), with 227 x 227 inputs, which fit the layer sizes of the paper; 62,378,344
    parameters with 1000 classes. Weights are initialised as in He et al. (2015): with the paper's standard deviation of
    0.01, the signal of images from -1 to 1 would vanish over eight layers.
    """
    options = {"activation": "relu", "kernel_initializer": "he_normal"}
    maps = layers.Conv2D(96, 11, strides=4, name="conv1", **options)(images)
    maps = layers.MaxPooling2D(3, 2, name="pool1")(local_response(maps, "norm1"))
    maps = layers.Conv2D(256, 5, padding="same", name="conv2", **options)(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool2")(local_response(maps, "norm2"))
    for number, filters in ((3, 384), (4, 384), (5, 256)):
        maps = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}", **options)(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool5")(maps)
    row = layers.Flatten(name="flatten")(maps)
    for number in (6, 7):
        row = layers.Dense(4096, name=f"fc{number}", **options)(row)
        row = layers.Dropout(0.5, name=f"drop{number}")(row)
    return _with_top(row, classes)


def small_cnn(images: Any, classes: int | None = None) -> Any:
    """Return the network of the old Keras example ``cifar10_cnn.py``.

    Two blocks of two convolutions, the second without padding; 1,250,858 parameters with ten classes.
    """
    maps = images
    for block, filters in enumerate((32, 64), start=1):
        maps = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv1")(maps)
        maps = layers.Conv2D(filters, 3, activation="relu", name=f"block{block}_conv2")(maps)
        maps = layers.MaxPooling2D(2, name=f"block{block}_pool")(maps)
        maps = layers.Dropout(0.25, name=f"block{block}_dropout")(maps)
    row = layers.Flatten(name="flatten")(maps)
    row = layers.Dense(512, activation="relu", name="dense")(row)
    row = layers.Dropout(0.5, name="dropout")(row)
    return _with_top(row, classes)


def _with_top(row: Any, classes: int | None) -> Any:
    return row if classes is None else layers.Dense(classes, activation="softmax", name="predictions")(row)
