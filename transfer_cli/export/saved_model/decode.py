"""``engine/images.decode`` once more, as a TensorFlow graph: the bytes of a JPEG or PNG become a uint8 RGB square.

A SavedModel takes this graph along, so that whoever runs it sees the pixels that the network was made for. Both
TensorFlow and Pillow decode with libjpeg-turbo and read PNG as it is specified; what differs above that is done here:
orientation, draft scales, 16 bits, transparency and the resize. Other formats are refused, and so are broken files.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from transfer_cli.data.decoding import MAXIMUM_PIXELS, SPARE
from transfer_cli.export.saved_model import exif
from transfer_cli.export.saved_model.resize import RESIZE

Tensor = Any
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SCALES = (1, 2, 4, 8)
_GREY, _ALPHA = 0, 4
"""Kinds of pixels in a PNG; those from 4 on have an alpha channel."""


def decode_graph(data: Tensor, size: int, resize: str) -> Tensor:
    """Return the picture in `data` as RGB, as ``engine.images.decode`` would.

    Parameters
    ----------
    data : tensor of shape (), string
        A JPEG (grey, RGB or CMYK; baseline or progressive) or a PNG of any kind.
    size : int
    resize : {"squash", "crop", "pad"}

    Returns
    -------
    tensor of shape (size, size, 3), uint8

    Raises
    ------
    tf.errors.InvalidArgumentError
        When the graph runs: another format, a broken file, or one of more pixels than are decoded.
    """
    is_png = tf.strings.substr(data, 0, len(_PNG)) == _PNG
    is_jpeg = tf.strings.substr(data, 0, len(_JPEG)) == _JPEG
    known = tf.debugging.Assert(is_png | is_jpeg, ["no picture in a known format: expected a JPEG or PNG"])
    with tf.control_dependencies([known]):
        pixels = tf.cond(is_png, lambda: _png(data), lambda: _jpeg(data, size))
    return tf.ensure_shape(RESIZE[resize](pixels, size), (size, size, 3))


def _jpeg(data: Tensor, size: int) -> Tensor:
    """Return the upright pixels of a JPEG, only as large as `size` asks for (Pillow's ``draft``)."""
    height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(data))
    orientation, adobe = exif.of_jpeg(data)
    # TensorFlow and Pillow disagree on whether such a file's inks are inverted.
    inks = tf.debugging.Assert((channels < 4) | adobe, ["a CMYK picture that does not say how; convert it to RGB"])
    with tf.control_dependencies([_bounded(height, width), inks]):
        scale = tf.minimum(height, width) // math.ceil(SPARE * size)
    index = tf.reduce_sum(tf.cast(scale >= _SCALES[1:], tf.int32))

    def at(ratio: int) -> Any:
        return lambda: tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    pixels = tf.switch_case(index, [at(ratio) for ratio in _SCALES])
    return exif.upright(pixels, orientation)


def _png(data: Tensor) -> Tensor:
    """Return the upright pixels of a PNG."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(tf.strings.join([data, bytes(26)]), 0, 26), tf.uint8), tf.int32)
    width, height = (tf.reduce_sum(head[start : start + 4] * [1 << 24, 1 << 16, 1 << 8, 1]) for start in (16, 20))
    with tf.control_dependencies([_bounded(height, width)]):
        depth, kind = head[24], head[25]
    orientation, transparent = exif.of_png(data)
    pixels = tf.case(
        [
            ((depth == 16) & (kind == _GREY), lambda: _deep_grey(data)),
            ((kind >= _ALPHA) | transparent, lambda: _veiled(data)),
        ],
        default=lambda: tf.io.decode_png(data, channels=3),
    )
    return exif.upright(pixels, orientation)


def _deep_grey(data: Tensor) -> Tensor:
    """Return 16 bits of grey scaled to 8 of each colour."""
    deep = tf.cast(tf.io.decode_png(data, channels=1, dtype=tf.uint16), tf.float32)
    return tf.repeat(tf.cast(tf.round(deep / 257), tf.uint8), 3, axis=2)


def _veiled(data: Tensor) -> Tensor:
    """Return a picture with transparency laid over white, rounded as Pillow does (``libImaging/AlphaComposite.c``)."""
    image = tf.cast(tf.io.decode_png(data, channels=4), tf.int32)
    colour, alpha = image[:, :, :3], image[:, :, 3:]
    blend = (colour * alpha + 255 * (255 - alpha) + 0x80) * 128
    return tf.cast(_shifted(_shifted(blend, 8) + blend, 15), tf.uint8)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    return tf.bitwise.right_shift(numbers, bits)


def _bounded(height: Tensor, width: Tensor) -> Any:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    fits = (height > 0) & (width > 0) & (pixels <= MAXIMUM_PIXELS)
    return tf.debugging.Assert(fits, [f"the picture has no pixels, or more than {MAXIMUM_PIXELS}:", width, height])
