"""``engine/resize`` once more, as a TensorFlow graph that gives the same bytes.

OpenCV works on bytes in fixed-point arithmetic, ``tf.image.resize`` in floating point: every eighth value would differ
by one. Hence OpenCV's own arithmetic is repeated here: weights of 11 bits for `INTER_LINEAR` (as in
``modules/imgproc/src/resize.cpp``, HResizeLinear and VResizeLinear), means of blocks for `INTER_AREA`.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

Tensor = Any
_ONE = 1 << 11
_TABLE = 8192
"""For pictures of sides below it, the logarithms are Python's own."""


def squash(image: Tensor, size: int) -> Tensor:
    """Return the whole picture, its shape given up."""
    lengths = tf.shape(image)[:2]
    # Of a picture of exactly two by one the last bit of a logarithm decides how often its sides are halved.
    table = tf.constant([0.0, *(math.log2(length / size) for length in range(1, _TABLE))], tf.float64)
    known = tf.gather(table, tf.minimum(lengths, _TABLE - 1))
    reductions = tf.where(lengths < _TABLE, known, _logarithms(lengths, size))
    return _resized(image, tf.constant(size), tf.constant(size), reductions)


def crop(image: Tensor, size: int) -> Tensor:
    """Return the largest square in the middle."""
    height, width = tf.unstack(tf.shape(image)[:2])
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return squash(image[top : top + side, left : left + side], size)


def pad(image: Tensor, size: int) -> Tensor:
    """Return the whole picture in its shape, on black."""
    shape = tf.shape(image)[:2]
    sides = tf.cast(shape, tf.float64)
    scale = tf.constant(size, tf.float64) / tf.reduce_max(sides)
    height, width = tf.unstack(tf.maximum(1, tf.cast(tf.round(sides * scale), tf.int32)))
    inside = _resized(image, width, height, _logarithms(shape, tf.stack([height, width])))
    top, left = (size - height) // 2, (size - width) // 2
    return tf.pad(inside, [[top, size - height - top], [left, size - width - left], [0, 0]])


RESIZE = {"squash": squash, "crop": crop, "pad": pad}
"""What the words of ``images.resize`` do."""


def _resized(image: Tensor, width: Tensor, height: Tensor, reductions: Tensor) -> Tensor:
    """Return the picture at another size, each pixel from all it covers, as ``engine/resize.resized`` does.

    `reductions` are the binary logarithms of how much smaller its height and its width become.
    """
    down, across = _halvings(reductions)
    finer = _linear(image, width * 2**across, height * 2**down)
    _, _, finer = tf.while_loop(
        lambda across, down, _: (across > 0) & (down > 0),
        lambda across, down, finer: (across - 1, down - 1, _halved(finer)),
        (across, down, finer),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([]), tf.TensorShape([None, None, 3])),
    )
    return tf.cast(_means(finer, width, height), tf.uint8)


def _logarithms(lengths: Tensor, wanted: Tensor) -> Tensor:
    """Return the binary logarithms of the reductions of both sides."""
    return tf.math.log(tf.cast(lengths, tf.float64) / tf.cast(wanted, tf.float64)) / math.log(2)


def _halvings(reductions: Tensor) -> Tensor:
    """Return how often each side is halved."""
    alike = tf.abs(reductions[0] - reductions[1]) < 1
    times = tf.where(alike, (reductions[0] + reductions[1]) / 2, reductions)
    return tf.unstack(tf.maximum(0, tf.cast(tf.round(times), tf.int32)))


def _linear(image: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Return what `INTER_LINEAR` gives, int32."""
    left, right, near, far = _neighbours(tf.shape(image)[1], width, clamped=True)
    rows = tf.cast(tf.gather(image, left, axis=1), tf.int32) * near[:, None]
    rows += tf.cast(tf.gather(image, right, axis=1), tf.int32) * far[:, None]
    # OpenCV drops bits twice on its way down the picture, so that the sums fit into its registers.
    rows = tf.bitwise.right_shift(rows, 4)
    above, below, near, far = _neighbours(tf.shape(image)[0], height, clamped=False)
    upper = tf.bitwise.right_shift(tf.gather(rows, above) * near[:, None, None], 16)
    lower = tf.bitwise.right_shift(tf.gather(rows, below) * far[:, None, None], 16)
    return tf.bitwise.right_shift(upper + lower + 2, 2)


def _neighbours(length: Tensor, wanted: Tensor, *, clamped: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return between which two pixels each new one lies, and the weights of both.

    OpenCV gives all the weight at a border to one pixel across (`clamped`), but shares it between two equal ones down.
    """
    scale = tf.cast(length, tf.float64) / tf.cast(wanted, tf.float64)
    place = tf.cast((tf.cast(tf.range(wanted), tf.float64) + 0.5) * scale - 0.5, tf.float32)
    first = tf.cast(tf.floor(place), tf.int32)
    share = place - tf.floor(place)
    if clamped:
        share = tf.where((first < 0) | (first >= length - 1), 0.0, share)
    near, far = tf.cast(tf.round((1 - share) * _ONE), tf.int32), tf.cast(tf.round(share * _ONE), tf.int32)
    return tf.clip_by_value(first, 0, length - 1), tf.clip_by_value(first + 1, 0, length - 1), near, far


def _halved(image: Tensor) -> Tensor:
    """Return the mean of each block of two by two, halves rounded up."""
    # Pooling is thrice as quick as a sum over two axes, and exact: quarters of whole numbers.
    means = tf.nn.avg_pool2d(tf.cast(image, tf.float32)[None], 2, 2, "VALID")[0]
    return tf.cast(tf.floor(means + 0.5), tf.int32)


def _means(image: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Return the mean of each block, halves rounded to even, as `INTER_AREA` does along one side alone."""
    shape = tf.shape(image)
    blocks = tf.reshape(tf.cast(image, tf.float32), (height, shape[0] // height, width, shape[1] // width, 3))
    return tf.round(tf.reduce_mean(blocks, (1, 3)))
