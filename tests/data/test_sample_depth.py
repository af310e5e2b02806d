"""Deep samples and unusual layouts, compared with what tifffile and imagecodecs read."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from transfer_cli.data.decoding import decode, decode_views
from transfer_cli.data.views import View

SIDE = 64
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "lzw": {"compression": "lzw", "predictor": True},
    "deflate tiles": {"compression": "zlib", "tile": (16, 16)},
}


def smooth(channels: int = 3) -> NDArray[np.uint16]:
    """Return an image of 16 bits with a different gradient in each channel and a flat square."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    image = np.stack([x, y, 1 - x, (x + y) / 2][:channels], -1) * 65535
    image[20:40, 20:40] = np.array([60000, 3000, 30000, 500])[:channels]
    return image.astype(np.uint16)


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, samples, **options)
    return target.getvalue()


def png(samples: NDArray[Any], colour_type: int, transparent: bytes = b"") -> bytes:
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
        if data or kind == b"IEND"
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def check(data: bytes, expected: NDArray[Any], bit_depth: int | None = None, tolerance: float = 1) -> None:
    """Compare the decoded image with samples from 0 to 65535."""
    (pixels,) = decode_views(data, [View(SIDE, "squash", bit_depth)])
    expected = expected if expected.ndim == 3 else expected[..., np.newaxis]
    assert np.abs(pixels - expected.astype(float) / 257).max() <= tolerance


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_decode_16_bit_colours_match_tifffile(layout: str, order: Any, planes: Any) -> None:
    image = smooth()
    stored = np.moveaxis(image, -1, 0) if planes == "separate" else image
    data = tiff(stored, photometric="rgb", planarconfig=planes, byteorder=order, **LAYOUTS[layout])
    read = tifffile.imread(io.BytesIO(data))
    check(data, np.moveaxis(read, 0, -1) if planes == "separate" else read)


@pytest.mark.parametrize("extra", ["unassalpha", "unspecified"])
def test_decode_16_bit_planes_with_a_fourth_one_are_read(extra: str) -> None:
    image = np.dstack([smooth(), np.full((SIDE, SIDE), 65535, np.uint16)])
    data = tiff(np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate", extrasamples=[extra])
    check(data, smooth())


@pytest.mark.parametrize("kind", ["CMYK", "premultiplied transparency"])
def test_decode_16_bit_planes_that_pillow_cannot_unpack_are_refused(kind: str) -> None:
    options = {"photometric": "separated"} if kind == "CMYK" else {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    data = tiff(np.moveaxis(smooth(4), -1, 0), planarconfig="separate", **options)
    with pytest.raises(ValueError, match=f"16-bit {kind} in separate planes is not supported"):
        decode(data, SIDE, "squash")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", "<>")
def test_decode_16_bit_grey_where_0_is_white_is_not_a_negative(layout: str, order: Any) -> None:
    grey = smooth()[..., 0]
    check(tiff(65535 - grey, photometric="miniswhite", byteorder=order, **LAYOUTS[layout]), grey)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_decode_12_declared_bits_are_scaled_to_8(photometric: str) -> None:
    grey = smooth()[..., 0] >> 4
    data = tiff(grey if photometric == "minisblack" else 4095 - grey, bitspersample=12, photometric=photometric)
    check(data, smooth()[..., 0])


def test_decode_signed_samples_use_15_bits() -> None:
    check(tiff((smooth()[..., 0] >> 1).astype(np.int16)), smooth()[..., 0])


@pytest.mark.parametrize(
    ("white", "dtype"),
    [(4095, np.uint16), (1000, np.uint16), (1023, np.int16), (6_553_500, np.uint32), (1, np.float32)],
)
def test_decode_declared_white_of_grey_is_used(white: int, dtype: Any) -> None:
    grey = (smooth()[..., 0] / 65535 * white).astype(dtype)
    kind = {np.float32: "f", np.uint32: "I"}.get(dtype, "H")
    check(tiff(grey, extratags=[(341, kind, 1, white, True)]), smooth()[..., 0])


def test_decode_declared_white_of_colours_is_used() -> None:
    data = tiff(smooth() >> 4, photometric="rgb", extratags=[(341, "H", 3, (4095,) * 3, True)])
    check(data, smooth())


@pytest.mark.parametrize("channels", [1, 3])
def test_decode_declared_white_below_the_samples_is_ignored(channels: int) -> None:
    image = smooth() if channels == 3 else smooth()[..., 0]
    photometric = "rgb" if channels == 3 else "minisblack"
    check(tiff(image, photometric=photometric, extratags=[(341, "H", channels, (4095,) * channels, True)]), image)


def test_decode_declared_white_of_8_bit_samples_changes_nothing() -> None:
    image = (smooth() >> 9).astype(np.uint8)
    check(tiff(image, photometric="rgb", extratags=[(341, "H", 3, (127,) * 3, True)]), image.astype(int) * 257, None, 0)


@pytest.mark.parametrize("layout", ["strips", "lzw"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 12, 14])
def test_bit_depth_reads_the_lowest_bits_of_a_tiff(layout: str, order: Any, bits: int) -> None:
    low = smooth() >> (16 - bits)
    check(tiff(low, photometric="rgb", byteorder=order, **LAYOUTS[layout]), smooth(), bits)
    check(tiff(low[..., 0], byteorder=order, **LAYOUTS[layout]), smooth()[..., 0], bits)
    assert decode(tiff(low, photometric="rgb", byteorder=order), SIDE, "squash").mean() < 64  # without it: dark


@pytest.mark.parametrize("bits", [10, 12])
def test_bit_depth_reads_the_lowest_bits_of_a_png(bits: int) -> None:
    low, opaque = smooth() >> (16 - bits), np.full((SIDE, SIDE), 65535, np.uint16)
    data = bytes(imagecodecs.png_encode(low))
    np.testing.assert_array_equal(imagecodecs.png_decode(data), low)
    check(data, smooth(), bits)
    check(png(low[..., 0], 0), smooth()[..., 0], bits)
    check(png(np.dstack([low, opaque]), 6), smooth(), bits)
    check(png(np.dstack([low[..., 0], opaque]), 4), smooth()[..., 0], bits)


def test_bit_depth_does_not_change_8_bit_images_and_declared_depths() -> None:
    eight = io.BytesIO()
    Image.fromarray((smooth() >> 8).astype(np.uint8)).save(eight, "PNG")
    declared = tiff(smooth()[..., 0] >> 4, bitspersample=12)
    for data in (eight.getvalue(), declared):
        narrow, plain = decode_views(data, [View(SIDE, "squash", 10), View(SIDE, "squash")])
        np.testing.assert_array_equal(narrow, plain)


def test_bit_depth_of_samples_that_use_more_clips_to_white() -> None:
    (pixels,) = decode_views(png(smooth()[..., 0], 0), [View(SIDE, "squash", 12)])
    assert pixels[0, -1, 0] == 255


def test_bit_depth_of_compressed_planes_is_refused() -> None:
    data = tiff(np.moveaxis(smooth() >> 4, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib")
    with pytest.raises(ValueError, match="full range only"):
        decode_views(data, [View(SIDE, "squash", 12)])


def test_bit_depth_keeps_the_orientation() -> None:
    image = np.zeros((SIDE, SIDE), np.uint16)
    image[: SIDE // 2] = 4095  # white above
    data = tiff(np.stack([image] * 3, -1), photometric="rgb", extratags=[(274, "H", 1, 3, True)])
    (pixels,) = decode_views(data, [View(SIDE, "squash", 12)])
    assert pixels[5].max() == 0
    assert pixels[-5].min() == 255


@pytest.mark.parametrize("bits", [None, 12])
def test_decode_transparent_colour_of_16_bits_is_white(bits: int | None) -> None:
    image = smooth() >> (0 if bits is None else 4)
    square = image[30, 30]
    expected = smooth()
    expected[20:40, 20:40] = 65535
    check(png(image, 2, struct.pack(">HHH", *square)), expected, bits)
    grey = png(image[..., 0], 0, struct.pack(">H", square[0]))
    (pixels,) = decode_views(grey, [View(SIDE, "squash", bits)])
    assert pixels[30, 30].tolist() == [255] * 3
    assert pixels[30, 5].max() < 60


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("bits", [4, 8])
def test_decode_colour_map_of_8_or_16_bits_gives_the_same(scale: int, bits: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 2**bits)).astype(np.uint16)
    indices = np.random.default_rng(1).integers(0, 2**bits, (SIDE, SIDE)).astype(np.uint8)
    target = io.BytesIO()
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colours.T.astype(np.uint8).tobytes())
    image.save(target, "TIFF", bits=bits)
    data = bytearray(target.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tag = file.pages[0].tags["ColorMap"]  # type: ignore[union-attr]
        order, at, count = file.byteorder, tag.valueoffset, tag.count
    entries = np.frombuffer(bytes(data[at : at + 2 * count]), f"{order}u2") // 256
    data[at : at + 2 * count] = (entries * scale).astype(f"{order}u2").tobytes()
    np.testing.assert_array_equal(decode(bytes(data), SIDE, "squash"), colours.T.astype(np.uint8)[indices])


@pytest.mark.parametrize("masks", ["argb", "abgr"])
@pytest.mark.parametrize(("alpha", "looks_opaque"), [(0, True), (255, True), (1, False)])
def test_decode_bmp_whose_alpha_is_empty_is_opaque(masks: str, alpha: int, looks_opaque: bool) -> None:
    colours = (smooth() >> 8).astype(np.uint8)
    stored = np.dstack([colours[..., ::-1] if masks == "argb" else colours, np.full((SIDE, SIDE), alpha, np.uint8)])
    fields = (0xFF0000, 0xFF00, 0xFF) if masks == "argb" else (0xFF, 0xFF00, 0xFF0000)
    header = struct.pack("<IiiHHIIiiII", 108, SIDE, SIDE, 1, 32, 3, stored.nbytes, 2835, 2835, 0, 0)
    header += struct.pack("<IIII", *fields, 0xFF000000) + b"BGRs" + bytes(48)
    data = b"BM" + struct.pack("<IHHI", 122 + stored.nbytes, 0, 0, 122) + header + stored[::-1].tobytes()
    pixels = decode(data, SIDE, "squash")
    assert np.array_equal(pixels, colours) == looks_opaque
    assert looks_opaque or pixels.min() > 250


@pytest.mark.parametrize("size", [16, 64])
def test_decode_cmyk_jpeg_without_its_marker_is_not_inverted(size: int) -> None:
    colours = (smooth() >> 8).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    ink = np.dstack([255 - colours, np.zeros(colours.shape[:2], np.uint8)])
    target = io.BytesIO()
    # Pillow inverts ink when it writes a JPEG.
    Image.frombytes("CMYK", ink.shape[1::-1], (255 - ink).tobytes()).save(target, "JPEG", quality=95)
    data = target.getvalue()
    at = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, at + 2)
    unmarked = data[:at] + data[at + 2 + length :]
    np.testing.assert_allclose(imagecodecs.jpeg_decode(unmarked, colorspace="CMYK", outcolorspace="CMYK"), ink, atol=30)
    expected = np.asarray(Image.fromarray(colours).resize((size, size), Image.Resampling.BOX))
    assert np.abs(decode(unmarked, size, "squash").astype(int) - expected).mean() < 3
    assert decode(data, size, "squash").mean() < 10  # the marker says that ink is inverted


def test_decode_signed_8_bit_samples_are_refused() -> None:
    """Pillow reads -1 as 255."""
    with pytest.raises(ValueError, match="8-bit samples with a sign are not supported"):
        decode(tiff(np.full((SIDE, SIDE), -1, np.int8)), SIDE, "squash")
