"""How a picture was held, read from its bytes by a TensorFlow graph.

Cameras store pixels as the sensor lay and say in the Exif tag 0x0112 how to turn them (Exif 2.32, 4.6.4); TensorFlow's
own decoders leave it unread. Read here is what Pillow's ``ImageOps.exif_transpose`` goes by: the Exif segment of a
JPEG, the eXIf chunk of a PNG, and XMP's ``tiff:Orientation`` where neither has the tag. Text that ImageMagick once
wrote into PNG files in place of the chunk (``Raw profile type exif``) is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

Tensor = Any
_TAG, _SHORT, _LONG = 0x0112, 3, 4
_EXIF = b"Exif\0\0"
_APP1, _APP14, _START_OF_SCAN = 0xE1, 0xEE, 0xDA
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
_IN_JPEG = ((_APP1, _EXIF), (_APP1, b"http://ns.adobe.com/xap/1.0/\0"), (_APP14, b"Adobe"))
_IN_PNG = ((b"eXIf", b""), (b"iTXt", b"XML:com.adobe.xmp\0\0"), (b"tRNS", b""))
_XMP_WORDS = r'^\C*?tiff:Orientation(?:="|>)([0-9])\C*$'
_MOST = 20_000
"""Segments or chunks that are looked at; a file of more is no photograph."""


def upright(image: Tensor, orientation: Tensor) -> Tensor:
    """Return the picture turned and mirrored as one of the eight orientations asks; others leave it as it is."""
    image = tf.cond(tf.reduce_any(orientation == [5, 6, 7, 8]), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    across = tf.reduce_any(orientation == [2, 3, 6, 7])
    down = tf.reduce_any(orientation == [3, 4, 7, 8])
    image = tf.cond(across, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(down, lambda: tf.reverse(image, [0]), lambda: image)


def of_jpeg(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return the orientation of a JPEG, 1 where it says none, and whether it has Adobe's segment.

    Parameters
    ----------
    data : tensor of shape (), string

    Returns
    -------
    tensor of shape (), int32
    tensor of shape (), bool
    """
    size = tf.strings.length(data)

    def segment(place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first, marker = tf.unstack(_bytes(data, place, 2))
        length = _number(_bytes(data, place + 2, 2), little=False)
        # Between segments there may be other bytes, and any number of 0xFF before a marker.
        between = (first != 0xFF) | (marker == 0xFF)
        bare = tf.reduce_any(marker == _WITHOUT_LENGTH)
        after = place + tf.where(between, 1, tf.where(bare, 2, 2 + tf.maximum(2, length)))
        last = ~between & (marker == _START_OF_SCAN)
        return tf.where(between, -1, marker), place + 4, length - 2, tf.where(last, size, after)

    exif, xmp, adobe = _collected(data, 2, segment, _IN_JPEG)
    return _orientation(exif, xmp), tf.strings.length(adobe) > 0


def of_png(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return the orientation of a PNG, 1 where it says none, and whether it has a chunk of transparency.

    Parameters
    ----------
    data : tensor of shape (), string

    Returns
    -------
    tensor of shape (), int32
    tensor of shape (), bool
    """
    size = tf.strings.length(data)

    def chunk(place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        length = _number(_bytes(data, place, 4), little=False)
        kind = _piece(data, place + 4, 4)
        # A length of more than the file has must not wrap around.
        length = tf.where((length < 0) | (length > size), size, length)
        return kind, place + 8, length, tf.where(kind == b"IEND", size, place + 12 + length)

    exif, xmp, transparency = _collected(data, 8, chunk, _IN_PNG)
    return _orientation(exif, xmp), tf.strings.length(transparency) > 0


def _collected(
    data: Tensor,
    start: int,
    part: Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]],
    wanted: Sequence[tuple[int | bytes, bytes]],
) -> tuple[Tensor, ...]:
    """Return what the wanted parts of a file hold, told by their kind and first words; parts of one sort are joined.

    `part` says of a place which kind of part begins there, where its content is, how long, and where the next begins.
    """

    def step(place: Tensor, *found: Tensor) -> tuple[Tensor, ...]:
        kind, content, length, after = part(place)

        def read() -> list[Tensor]:
            held = _piece(data, content, length)
            ours = [(kind == sort) & _starts(held, words) for sort, words in wanted]
            new = [_without(held, words) for _, words in wanted]
            return [
                tf.strings.join([old, tf.where(here, more, b"")])
                for old, here, more in zip(found, ours, new, strict=True)
            ]

        any_of_them = tf.reduce_any([kind == sort for sort, _ in wanted])
        return after, *tf.cond(any_of_them, read, lambda: list(found))

    begin = (tf.constant(start), *[tf.constant(b"")] * len(wanted))
    size = tf.strings.length(data)
    return tuple(tf.while_loop(lambda place, *_: place < size, step, begin, maximum_iterations=_MOST)[1:])


def _orientation(exif: Tensor, xmp: Tensor) -> Tensor:
    """Return what Exif says, else what XMP says, else 1."""

    def from_xmp() -> Tensor:
        digit = tf.strings.regex_replace(xmp, _XMP_WORDS, r"\1")
        return tf.strings.to_number(tf.where(tf.strings.regex_full_match(digit, "[0-9]"), digit, b"1"), tf.int32)

    def from_exif() -> Tensor:
        return _of_tiff(tf.cond(_starts(exif, _EXIF), lambda: _without(exif, _EXIF), lambda: exif))

    found = tf.cond(tf.strings.length(exif) > 0, from_exif, lambda: -1)
    return tf.cond(found >= 0, lambda: found, from_xmp)


def _of_tiff(tiff: Tensor) -> Tensor:
    """Return the orientation in the first directory of a TIFF block, -1 where it has none, 1 where it is no TIFF."""
    head = _piece(tiff, 0, 4)
    little = head == b"II*\0"

    def read() -> Tensor:
        start = _number(_bytes(tiff, 4, 4), little)
        start = tf.where((start < 0) | (start > tf.strings.length(tiff)), tf.strings.length(tiff), start)
        there = tf.maximum(0, tf.strings.length(tiff) - start - 2) // 12
        content = _piece(tiff, start + 2, 12 * tf.minimum(_number(_bytes(tiff, start, 2), little), there))
        entries = tf.reshape(tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int32), (-1, 12))
        kinds = _number(entries[:, 2:4], little)
        values = tf.where(kinds == _SHORT, _number(entries[:, 8:10], little), _number(entries[:, 8:12], little))
        counts = _number(entries[:, 4:8], little)
        # More values than fit into an entry lie elsewhere; no camera writes more than one.
        held = ((kinds == _SHORT) & (counts <= 2)) | ((kinds == _LONG) & (counts == 1))
        ours = (_number(entries[:, :2], little) == _TAG) & held & (counts > 0)
        # Of several the last one counts, as in Pillow.
        return tf.concat([[-1], tf.boolean_mask(values, ours)], 0)[-1]

    return tf.cond(little | (head == b"MM\0*"), read, lambda: 1)


def _piece(data: Tensor, place: Tensor, length: Tensor) -> Tensor:
    """Return some bytes; beyond the end there are none."""
    return tf.strings.substr(data, tf.minimum(place, tf.strings.length(data)), tf.maximum(0, length))


def _bytes(data: Tensor, place: Tensor, count: int) -> Tensor:
    """Return some bytes as numbers; beyond the end they are 0."""
    padded = _piece(tf.strings.join([_piece(data, place, count), bytes(count)]), 0, count)
    return tf.ensure_shape(tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int32), [count])


def _number(digits: Tensor, little: Tensor | bool) -> Tensor:
    """Return the numbers that the bytes along the last axis stand for."""
    powers = 256 ** tf.range(digits.shape[-1])
    return tf.reduce_sum(digits * tf.where(little, powers, powers[::-1]), -1)


def _starts(data: Tensor, words: bytes) -> Tensor:
    return _piece(data, 0, len(words)) == words


def _without(data: Tensor, words: bytes) -> Tensor:
    return _piece(data, len(words), tf.strings.length(data))
