"""Features without learning, as networks of fixed layers: pixels, and histograms of oriented gradients (HOG).

What they reach beside a pretrained network is what transfer is worth. As networks they are cached, bundled, converted
and exported as any other backbone.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

_CELL, _BLOCK, _BINS = 8, 16, 9
_CELLS = _BLOCK // _CELL
"""Cells along each side of a block."""
_SIGMA = _BLOCK / 4
"""Of the Gaussian window of a block, in pixels."""
_CLIP = 0.2
_ARCTANGENT = (57.2836266, -18.6674461, 8.91400051, -2.53972459)
"""Coefficients of c, c^3, c^5 and c^7 in the arctangent of c = 0 .. 1 in degrees, as in OpenCV."""


def pixels(images: Any, classes: int | None = None) -> Any:
    """Return the values of all pixels as one row, in the order of height, width and channel."""
    return layers.Flatten(name="pixels")(images)


def hog(images: Any, classes: int | None = None) -> Any:
    """Return histograms of oriented gradients (Dalal and Triggs 2005), as cv2.HOGDescriptor computes them.

    Cells of 8 x 8 pixels, overlapping blocks of 2 x 2 cells, nine unsigned orientations, the gradient of the colour
    channel where it is largest, a Gaussian window, linear interpolation between cells and orientations, L2-Hys
    normalisation; no gamma correction. Each block has 36 numbers, in the order of orientation, column and row of the
    cell; blocks follow each other row by row. Pixels beyond a multiple of eight, at the right and at the bottom, are
    left out.

    Parameters
    ----------
    images : keras.KerasTensor of shape (n, height, width, 3), float32
        RGB, whole numbers from 0 to 255.
    """
    across, down = _strongest(*_gradients(images))
    votes = _by_orientation(_angle(across, down)) * ops.sqrt(across * across + down * down)
    blocks = _fixed(
        layers.DepthwiseConv2D(
            _BLOCK, strides=_CELL, depth_multiplier=_CELLS**2, use_bias=False, name="hog_blocks", trainable=False
        ),
        votes,
        np.repeat(_cell_windows()[:, :, None, :], _BINS, axis=2),
    )
    width = _BINS * _CELLS**2
    clipped = ops.minimum(blocks / (_length(blocks, "hog_lengths") + 0.1 * width), _CLIP)
    return layers.Flatten(name="hog")(clipped / (_length(clipped, "hog_clipped_lengths") + 1e-3))


def _gradients(images: Any) -> tuple[Any, Any]:
    """Return the difference of both neighbours of each pixel, across and down; 0 at the border, as if mirrored."""
    difference = np.array([-1.0, 0.0, 1.0], np.float32)
    gradients = []
    for name, shape, border in (("across", (1, 3), ((0, 0), (1, 1))), ("down", (3, 1), ((1, 1), (0, 0)))):
        layer = layers.DepthwiseConv2D(shape, use_bias=False, name=f"hog_{name}", trainable=False)
        kernel = np.repeat(difference.reshape(*shape, 1, 1), 3, axis=2)
        gradients.append(layers.ZeroPadding2D(border, name=f"hog_{name}_border")(_fixed(layer, images, kernel)))
    return gradients[0], gradients[1]


def _strongest(across: Any, down: Any) -> tuple[Any, Any]:
    """Return the gradient of the colour channel where it is largest; of equal ones that of the first channel."""
    # Whole numbers, so that each comparison below is exact: 4 x the squared length, plus a rank of the channel.
    order = _fixed(
        layers.DepthwiseConv2D(1, name="hog_order", trainable=False),
        (across * across + down * down) * 4.0,
        np.ones((1, 1, 3, 1), np.float32),
        np.array([2, 1, 0], np.float32),
    )
    is_largest = ops.maximum(1.0 - (ops.max(order, axis=-1, keepdims=True) - order), 0.0)
    return _sum(across * is_largest, "hog_across_strongest"), _sum(down * is_largest, "hog_down_strongest")


def _angle(across: Any, down: Any) -> Any:
    """Return the angle of a gradient of whole numbers in degrees, 0 to 180: opposite directions are the same."""
    width, height = ops.absolute(across), ops.absolute(down)
    ratio = ops.minimum(width, height) / (ops.maximum(width, height) + 1e-12)
    square = ratio * ratio
    one, three, five, seven = _ARCTANGENT
    angle = (((square * seven + five) * square + three) * square + one) * ratio
    angle = _mirrored(angle, 90.0, where=height - width)
    return _mirrored(angle, 180.0, where=0.0 - across * down)


def _mirrored(angle: Any, end: float, *, where: Any) -> Any:
    """Return `end` minus the angle where a whole number is positive, else the angle."""
    return angle + ops.minimum(ops.maximum(where, 0.0), 1.0) * (end - angle * 2.0)


def _by_orientation(angle: Any) -> Any:
    """Return the shares of an angle in the nine orientations, between whose centres it lies; they form a circle."""
    # Two more, beyond both ends: the last and the first orientation once again.
    centres = np.arange(-1, _BINS + 1, dtype=np.float32)
    distance = _fixed(
        layers.Conv2D(len(centres), 1, name="hog_distances", trainable=False),
        angle / (180.0 / _BINS) - 0.5,
        np.ones((1, 1, 1, len(centres)), np.float32),
        -centres,
    )
    shares = ops.maximum(1.0 - ops.absolute(distance), 0.0)
    circle = np.eye(_BINS, dtype=np.float32)[np.arange(-1, _BINS + 1) % _BINS]
    layer = layers.Conv2D(_BINS, 1, use_bias=False, name="hog_orientations", trainable=False)
    return _fixed(layer, shares, circle[None, None])


def _cell_windows() -> NDArray[np.float32]:
    """Return how much each pixel of a block counts for each of its cells, of shape (height, width, cells)."""
    places = np.arange(_BLOCK)
    gaussian = np.exp(-((places - _BLOCK / 2) ** 2) / (2 * _SIGMA**2))
    distances = np.abs((places[:, None] + 0.5) / _CELL - 0.5 - np.arange(_CELLS))
    window = np.maximum(1 - distances, 0) * gaussian[:, None]
    # Columns of cells first.
    windows = np.einsum("yr,xc->yxcr", window, window).reshape(_BLOCK, _BLOCK, -1)
    return np.asarray(windows, np.float32)


def _length(maps: Any, name: str) -> Any:
    return ops.sqrt(_sum(maps * maps, name))


def _sum(maps: Any, name: str) -> Any:
    layer = layers.Conv2D(1, 1, use_bias=False, name=name, trainable=False)
    return _fixed(layer, maps, np.ones((1, 1, maps.shape[-1], 1), np.float32))


def _fixed(layer: keras.Layer, maps: Any, *weights: NDArray[np.float32]) -> Any:
    """Apply a layer with given weights."""
    outputs = layer(maps)
    layer.set_weights(list(weights))
    return outputs
