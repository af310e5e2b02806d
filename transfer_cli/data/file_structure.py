"""The parts of an image file: counted before a decoder that keeps each of them in memory, or repeats its work, does."""

from __future__ import annotations

import os
import re
import struct
from typing import IO

MAX_PARTS = 100_000
"""Segments, chunks or blocks of a file; those of programs have a few hundred, and as many as their data needs."""
MAX_TAG_VALUES = 2_000_000
"""Values of one tag of a TIFF: an image has as many offsets as strips."""
MAX_RUN_LENGTH_BYTES = 16 << 20
"""Size of a run-length encoded BMP, which Pillow decodes in Python."""
# Between the scans of a JPEG: 0xFF 0x00 is a byte of data, D0 to D7 are restarts, FF is padding.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START_OF_SCAN, _END = 0xDA, 0xD9
_TIFF_VALUE_BYTES = {6: 1, 3: 2, 8: 2}
_PLAIN_BYTES = (1, 2, 7)


def check_structure(data: bytes) -> int:
    """Return how often a decoder passes over all pixels of an image file: 1 unless it is a JPEG of several scans.

    Raises
    ------
    ValueError
        If the file has more parts than can be opened without gigabytes of memory or minutes.
    """
    if data.startswith(b"\xff\xd8"):
        return _jpeg_passes(data)
    if data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data.startswith(b"GIF8"):
        _check_gif(data)
    elif data.startswith(b"BM") and len(data) > MAX_RUN_LENGTH_BYTES and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        raise ValueError(f"too large: a run-length encoded BMP file of {len(data) >> 20} MiB; save it as PNG")
    return 1


def _too_many(what: str) -> ValueError:
    return ValueError(f"too many {what}: more than {MAX_PARTS:,}; save it again with another program")


def _jpeg_passes(data: bytes) -> int:
    """Return the number of scans that the decoder keeps the coefficients for."""
    position, components, is_progressive = 2, 1, False
    for _ in range(MAX_PARTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None or match.end() + 4 > len(data):
            return 1
        marker, position = data[match.end() - 1], match.end()
        if marker == _START_OF_SCAN:
            # A single scan of all components is decoded row by row.
            if not is_progressive and data[position + 2] >= components:
                return 1
            return _scans(data, position)
        if marker in _JPEG_FRAMES:
            components, is_progressive = data[min(position + 7, len(data) - 1)], marker in _PROGRESSIVE
        position += int.from_bytes(data[position : position + 2], "big")
    raise _too_many("segments in this JPEG file")


def _scans(data: bytes, position: int) -> int:
    scans = 1
    for match in _JPEG_MARKER.finditer(data, position):
        marker = match[0][1]
        if marker == _END:
            break
        scans += marker == _START_OF_SCAN
    return scans


def _check_png(data: bytes) -> None:
    position = 8
    for _ in range(MAX_PARTS):
        if position + 8 > len(data) or data[position + 4 : position + 8] == b"IEND":
            return
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    raise _too_many("chunks in this PNG file")


def _check_gif(data: bytes) -> None:
    """Count the blocks before the first image."""
    position = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    for _ in range(MAX_PARTS):
        kind = data[position : position + 1]
        if kind in (b"", b",", b";"):
            return
        position += 1
        if kind == b"!":
            position = _after_blocks(data, position + 1)
    raise _too_many("blocks in this GIF file")


def _after_blocks(data: bytes, position: int) -> int:
    for _ in range(MAX_PARTS):
        length = data[position] if position < len(data) else 0
        position += 1 + length
        if not length:
            return position
    raise _too_many("blocks in this GIF file")


def check_tiff(file: IO[bytes]) -> None:
    """Check the first directory of a TIFF file: Pillow makes a Python number of each value.

    Raises
    ------
    ValueError
        If there are more than 2 million.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    is_big = start[2:3] == b"+" or start[3:4] == b"+"
    # The number of entries and their layout: tag, type, number of values.
    count_format, entry_format, entry_size = ("Q", "HHQ8x", 20) if is_big else ("H", "HHL4x", 12)
    try:
        (directory,) = struct.unpack_from(order + ("Q" if is_big else "L"), start, 8 if is_big else 4)
        file.seek(directory)
        (entries,) = struct.unpack_from(order + count_format, file.read(8 if is_big else 2))
        content = file.read(min(entries, MAX_PARTS) * entry_size)
    except (struct.error, OSError, ValueError, OverflowError):  # a broken directory: the decoder will tell
        return
    if entries > MAX_PARTS and len(content) == MAX_PARTS * entry_size:
        raise _too_many("tags in this TIFF file")
    whole = content[: len(content) // entry_size * entry_size]
    # Values beyond the end of the file are not read.
    values = sum(
        count
        for _, kind, count in struct.iter_unpack(order + entry_format, whole)
        if kind not in _PLAIN_BYTES and count * _TIFF_VALUE_BYTES.get(kind, 4) <= size
    )
    if values > MAX_TAG_VALUES:
        raise ValueError(
            f"too many values in the tags of this TIFF file: {values:,}; limit: {MAX_TAG_VALUES:,}; save it again with "
            "another program"
        )
