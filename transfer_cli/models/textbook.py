"""The networks of the textbooks, built here and trained from scratch: what transfer is worth shows beside them.

A function takes a Keras tensor of scaled pictures and returns the features, or with a number of classes their
probabilities; the backbones' rows name it. Every layer has a name of its own, so that a stage can unfreeze from it.
"""

from __future__ import annotations

from typing import Any


def scaled(images: Any, scheme: str) -> Any:
    """Return a tensor of RGB pictures, 0 to 255, as a network wants it.

    Parameters
    ----------
    images : keras.KerasTensor of shape (n, height, width, 3), float32
    scheme : {"tf", "unit", "grey"}
        ``tf``: -1 to 1; ``unit``: 0 to 1; ``grey``: one channel, the luma of ITU-R BT.601, -1 to 1.
    """
    import keras

    if scheme == "unit":
        return images / 255.0
    if scheme == "grey":
        images = keras.ops.image.rgb_to_grayscale(images, data_format="channels_last")
    return images / 127.5 - 1.0


def lenet5(images: Any, classes: int | None = None) -> Any:
    """Return LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition").

    In the form of today's textbooks: its subsampling is a mean without weights, its second convolution sees all maps
    of the first, and its last layer is a softmax: 61,706 parameters with ten classes.
    """
    from keras import layers

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

    On one device, so that no convolution is in groups, at the 227 pixels that its figures fit, with the pooling after
    the fifth convolution: 62,378,344 parameters with 1000 classes. Its local response normalisation is left out, which
    brings nothing (Simonyan and Zisserman 2015). Weights begin as He et al. (2015) draw them: with the paper's
    deviation of 0.01 little would be left of pictures from -1 to 1 after eight layers.
    """
    from keras import layers

    words = {"activation": "relu", "kernel_initializer": "he_normal"}
    maps = layers.Conv2D(96, 11, strides=4, name="conv1", **words)(images)
    maps = layers.MaxPooling2D(3, 2, name="pool1")(maps)
    maps = layers.Conv2D(256, 5, padding="same", name="conv2", **words)(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool2")(maps)
    maps = layers.Conv2D(384, 3, padding="same", name="conv3", **words)(maps)
    maps = layers.Conv2D(384, 3, padding="same", name="conv4", **words)(maps)
    maps = layers.Conv2D(256, 3, padding="same", name="conv5", **words)(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool5")(maps)
    row = layers.Flatten(name="flatten")(maps)
    row = layers.Dense(4096, name="fc6", **words)(row)
    row = layers.Dropout(0.5, name="drop6")(row)
    row = layers.Dense(4096, name="fc7", **words)(row)
    row = layers.Dropout(0.5, name="drop7")(row)
    return _with_top(row, classes)


def small_cnn(images: Any, classes: int | None = None) -> Any:
    """Return the small network of Keras's old example ``cifar10_cnn.py``.

    Two blocks of two convolutions, of which the second is without padding: 1,250,858 parameters with ten classes.
    """
    from keras import layers

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
    from keras import layers

    return row if classes is None else layers.Dense(classes, activation="softmax", name="predictions")(row)
