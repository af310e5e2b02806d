"""Damaged files that miss no pixel are read; others are refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.damaged_files import without_damage
from transfer_cli.data.decoding import aspect_ratio, decode, stored_size

SIZES = (32, 224)


def photo(width: int = 320, height: int = 240) -> Image.Image:
    y, x = np.mgrid[:height, :width].astype(float)
    waves = np.stack([120 + 100 * np.sin(x / 25), 140 + 90 * np.cos(y / 20), 200 - x / 4], -1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def encoded(format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    photo().save(target, format, **options)
    return target.getvalue()


JPEGS = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "restart markers": {"quality": 90, "restart_marker_rows": 1},
    "optimized 4:4:4": {"quality": 95, "optimize": True, "subsampling": 0},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(512)], ids=["cut", "half cut", "zeros"])
def test_jpeg_without_end_marker_is_read_as_the_whole_file(kind: str, end: bytes) -> None:
    data = encoded("JPEG", **JPEGS[kind])
    for size in SIZES:
        np.testing.assert_array_equal(decode(data[:-2] + end, size, "squash"), decode(data, size, "squash"))


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("missing", [8, 40, 2000])
def test_jpeg_that_misses_pixels_is_refused_at_every_size(kind: str, missing: int) -> None:
    data = encoded("JPEG", **JPEGS[kind])[:-missing]
    for size in SIZES:
        with pytest.raises(OSError, match="truncated"):
            decode(data, size, "squash")


def test_progressive_jpeg_that_misses_whole_scans_is_refused() -> None:
    data = encoded("JPEG", progressive=True)
    assert without_damage(data[: data.rindex(b"\xff\xda")]) is None
    assert without_damage(data[:-2]) == data


def test_lossless_jpeg_is_read_at_every_size() -> None:
    image = np.ascontiguousarray(photo())
    data = bytes(imagecodecs.jpeg_encode(image, lossless=True))
    np.testing.assert_array_equal(imagecodecs.jpeg_decode(data), image)
    plain = encoded("PNG")
    for size in SIZES:
        np.testing.assert_array_equal(decode(data, size, "squash"), decode(plain, size, "squash"))
        np.testing.assert_array_equal(decode(data[:-2], size, "squash"), decode(plain, size, "squash"))


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


BROKEN_CHUNKS = {
    "text with a wrong checksum": chunk(b"tEXt", b"a\0bc", 0),
    "international text with a wrong checksum": chunk(b"iTXt", b"a\0\0\0\0\0bc", 1),
    "large compressed text": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(70_000_000))),
    "damaged compressed text": chunk(b"zTXt", b"a\0\0abc"),
    "profile with a wrong checksum": chunk(b"iCCP", b"x\0\0abcdefg", 0),
    "profile of another compression": chunk(b"iCCP", b"x\0\1" + zlib.compress(b"abc")),
    "short physical size": chunk(b"pHYs", b"\0"),
    "short gamma": chunk(b"gAMA", b""),
    "EXIF block with a wrong checksum": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", 0),
    "unknown chunk with a wrong checksum": chunk(b"abCd", b"1234", 0),
}


@pytest.mark.parametrize("kind", BROKEN_CHUNKS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_png_with_a_broken_extra_chunk_is_read(kind: str, place: str, tmp_path: Path) -> None:
    data = encoded("PNG")
    at = 33 if place == "before" else len(data) - 12
    broken = data[:at] + BROKEN_CHUNKS[kind] + data[at:]
    np.testing.assert_array_equal(decode(broken, 64, "squash"), decode(data, 64, "squash"))
    (path := tmp_path / "a.png").write_bytes(broken)
    assert stored_size(path) == (320, 240)
    assert aspect_ratio(path) == pytest.approx(4 / 3)


def test_png_with_a_broken_chunk_keeps_orientation_and_transparency() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("P", (40, 20), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.paste(0, (0, 0, 20, 20))
    target = io.BytesIO()
    image.save(target, "PNG", transparency=0, exif=exif)
    data = target.getvalue()
    broken = data[:33] + BROKEN_CHUNKS["text with a wrong checksum"] + data[33:]
    pixels = decode(broken, 40, "squash")
    np.testing.assert_array_equal(pixels, decode(data, 40, "squash"))
    assert pixels[5, 5].tolist() == [255, 255, 255]
    assert pixels[-5, 5].tolist() == [200, 0, 0]


@pytest.mark.parametrize("kind", [b"IDAT", b"IHDR", b"PLTE"])
def test_png_with_a_broken_chunk_of_pixels_is_refused(kind: bytes) -> None:
    target = io.BytesIO()
    photo().quantize(16).save(target, "PNG")
    data = bytearray(target.getvalue())
    at = data.index(kind) + 4
    data[at + 5] ^= 0xFF
    broken = bytes(data[:33]) + BROKEN_CHUNKS["damaged compressed text"] + bytes(data[33:])
    with pytest.raises((OSError, SyntaxError, ValueError)):
        decode(broken, 64, "squash")


def test_png_that_is_cut_is_refused() -> None:
    data = encoded("PNG")
    broken = data[:33] + BROKEN_CHUNKS["text with a wrong checksum"] + data[33:-2000]
    with pytest.raises(OSError, match="truncated"):
        decode(broken, 64, "squash")
