"""Damaged files that miss no pixel: a JPEG without its end marker, a PNG with a broken text or colour profile."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG, _END = b"\xff\xd8", b"\xff\xd9"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_ORIENTATION_CHUNK = b"eXIf"
# What a decoder reads after the last byte shows whether it still needs bits.
_CONTINUATIONS = (b"", b"\x55" * 64, b"\xaa" * 64)
_START_OF_SCAN = 0xDA
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def without_damage(data: bytes) -> bytes | None:
    """Return a file that could not be decoded without its damage; None if pixels may be missing, or nothing helps."""
    if data.startswith(_PNG):
        return _pixels_of_png(data)
    if data.startswith(_JPEG):
        return _jpeg_with_end(data)
    return None


def _pixels_of_png(data: bytes) -> bytes | None:
    """Return a PNG with the chunks that pixels and orientation need, or None if it has no other."""
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        is_whole = len(chunk) == 12 + length
        if kind in _PIXEL_CHUNKS or (
            kind == _ORIENTATION_CHUNK and is_whole and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        ):
            kept.append(chunk)
        at += 12 + length
    result = b"".join(kept)
    return result if len(result) < len(data) else None


def _jpeg_with_end(data: bytes) -> bytes | None:
    """Return a JPEG with its end marker, if it misses nothing else."""
    body = data.rstrip(b"\xff")
    if data.endswith(b"\0\0\0\0"):
        body = data.rstrip(b"\0\xff")  # a card's unused sector
    if body.endswith(_END) or not _has_all_scans(body):
        return None
    pixels = set()
    for continuation in _CONTINUATIONS:
        with Image.open(io.BytesIO(body + continuation + _END), formats=("JPEG",)) as image:
            pixels.add(hashlib.sha256(image.tobytes()).digest())
    return body + _END if len(pixels) == 1 else None


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a JPEG hold all coefficients of all components with all their bits."""
    components: set[int] = set()
    complete: set[tuple[int, int]] = set()
    at = 2
    while marker := _NEXT_MARKER.search(data, at):
        kind, at = data[marker.start() + 1], marker.end()
        if kind in (0x01, 0xD8, 0xD9):
            continue
        length = int.from_bytes(data[at : at + 2])
        segment = data[at + 2 : at + length]
        at += length
        if kind in _START_OF_FRAME and len(segment) >= 6:
            components = set(segment[6::3])
            is_sequential = kind not in (0xC2, 0xC6, 0xCA, 0xCE)
        elif kind == _START_OF_SCAN and components and len(segment) >= 4:
            first, last, bits = segment[-3:]
            names = segment[1 : 1 + 2 * segment[0] : 2]
            if is_sequential:
                first, last, bits = 0, 63, 0
            if bits & 15 == 0:
                complete |= {(name, each) for name in names for each in range(first, last + 1)}
    return bool(components) and all((name, each) in complete for name in components for each in range(64))
