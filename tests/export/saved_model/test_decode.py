"""The decoder in a SavedModel gives the bytes that ours gives, whatever the picture; and a fault in it is found."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.test_decoding import broken_files, encoded
from transfer_cli.data import decoding
from transfer_cli.data.resizing import RESIZE
from transfer_cli.export.saved_model import decode as tf_decode
from transfer_cli.export.saved_model import exif as tf_orientation
from transfer_cli.export.saved_model import resize as tf_resize
from transfer_cli.export.saved_model.decode import decode_graph

SIDE = 32
POLICIES = ("squash", "crop", "pad")
RANDOM = np.random.default_rng(5)
Decoder = Callable[[bytes], NDArray[np.uint8]]


def traced(size: int, resize: str) -> Decoder:
    graph = tf.function(lambda data: decode_graph(data, size, resize), [tf.TensorSpec([], tf.string)], autograph=False)
    run = graph.get_concrete_function()
    return lambda data: run(tf.constant(data)).numpy()


decoder = cache(traced)


def differing(decode: Decoder, images: Iterable[bytes], size: int, resize: str) -> int:
    """Return how many pictures have another byte than those that the networks learn from."""
    return sum(not np.array_equal(decode(data), decoding.decode(data, size, resize)) for data in images)


def image(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return a picture with soft shapes, unlike itself however it is turned."""
    bands = {"RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2, "L": 1}[mode]
    coarse = RANDOM.integers(0, 256, (max(1, height // 9), max(1, width // 9), bands), np.uint8)
    return Image.merge(mode, [Image.fromarray(band).resize((width, height), 3) for band in np.moveaxis(coarse, 2, 0)])


def tiff(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack(order + {3: "HH", 4: "L"}[kind], *([orientation, 0] if kind == 3 else [orientation]))
    entry = struct.pack(order + "HHL", 0x0112, kind, 1) + value
    return struct.pack(order + "2sHLH", b"II" if order == "<" else b"MM", 42, 8, 1) + entry + bytes(4)


def with_segments(*contents: bytes, between: bytes = b"") -> bytes:
    data = encoded(image(60, 40), "JPEG")
    segments = b"".join(between + b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in contents)
    return data[:2] + segments + data[2:]


def xmp(orientation: int) -> bytes:
    return b"http://ns.adobe.com/xap/1.0/\0<x \xff tiff:Orientation='?'\n tiff:Orientation=\"%d\">" % orientation


def png(depth: int, kind: int, bands: int) -> bytes:
    """Return a PNG of 40 by 24 random pixels in one of the kinds that Pillow does not write."""
    rows = b"".join(b"\0" + RANDOM.bytes(40 * bands * depth // 8) for _ in range(24))
    head = struct.pack(">IIBBBBB", 40, 24, depth, kind, 0, 0, 0)
    chunks = [b"IHDR" + head, b"IDAT" + zlib.compress(rows), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks
    )


def without_adobe(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4]) :]


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x010F] = "a maker"
    block[0x0112] = orientation
    return block


def kinds() -> dict[str, bytes]:
    rgb, large = image(60, 40), image(450, 310)
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(6)[29:].decode("latin-1"))
    held = [(tiff(6, order, kind), f"{order}{kind}") for order in "<>" for kind in (3, 4)]
    sides = [(1, 1), (1, 500), (500, 1), (3, 2), (33, 32), (700, 40)]
    return {
        **{f"jpeg {number}": encoded(rgb, "JPEG", exif=exif(number)) for number in range(10)},
        **{f"png {number}": encoded(rgb, "PNG", exif=exif(number)) for number in range(10)},
        **{f"exif {name}": with_segments(b"Exif\0\0" + block) for block, name in held},
        "exif in two": with_segments(b"Exif\0\0" + tiff(6)[:15], b"Exif\0\0" + tiff(6)[15:]),
        "exif twice": with_segments(b"Exif\0\0Exif\0\0" + tiff(6)),
        "exif that ends": with_segments(b"Exif\0\0" + tiff(6)[:15]),
        "exif that leads nowhere": with_segments(b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        "exif of 32 values": with_segments(b"Exif\0\0" + tiff(6).replace(b"\3\0\1\0", b"\3\0\x20\0")),
        "exif of nothing": with_segments(b"Exif\0\0XX*\0" + bytes(20), xmp(6)),
        "bytes between": with_segments(b"Exif\0\0" + tiff(6), between=b"\xff\xff\xff"),
        "xmp": with_segments(xmp(6)),
        "xmp and exif": with_segments(xmp(6), b"Exif\0\0" + tiff(8)),
        "xmp in a png": encoded(rgb, "PNG", pnginfo=text),
        "grey jpeg": encoded(rgb.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(image(60, 40, "CMYK"), "JPEG"),
        "rgb jpeg": encoded(rgb, "JPEG", keep_rgb=True),
        "mpo": encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        **{f"jpeg of {part}": encoded(large.resize((450 // part, 310 // part)), "JPEG") for part in (1, 2, 3, 4)},
        **{f"{scheme}": encoded(large, "JPEG", subsampling=scheme) for scheme in ("4:4:4", "4:2:2", "4:2:0")},
        "progressive": encoded(large, "JPEG", progressive=True),
        "progressive cmyk": encoded(image(450, 310, "CMYK"), "JPEG", progressive=True),
        **{f"{colours} colours": encoded(rgb.quantize(colours), "PNG") for colours in (2, 4, 16, 256)},
        "a clear colour": encoded(rgb.convert("P"), "PNG", transparency=5),
        "veiled colours": encoded(rgb.convert("P"), "PNG", transparency=bytes(range(200))),
        "a clear grey": encoded(rgb.convert("L"), "PNG", transparency=100),
        "a clear rgb": encoded(rgb, "PNG", transparency=rgb.getpixel((5, 5))),
        "rgba": encoded(image(60, 40, "RGBA"), "PNG"),
        "grey and alpha": encoded(image(60, 40, "LA"), "PNG"),
        "black and white": encoded(rgb.convert("1"), "PNG"),
        "16 bits": encoded(Image.fromarray(RANDOM.integers(0, 1 << 16, (24, 40), np.uint16)), "PNG"),
        **{f"png {depth} {kind}": png(depth, kind, bands) for depth, kind, bands in [(2, 0, 1), (4, 0, 1), (16, 2, 3)]},
        **{f"png {depth} {kind}": png(depth, kind, bands) for depth, kind, bands in [(16, 4, 2), (16, 6, 4)]},
        **{f"{width}x{height}": encoded(image(width, height), "PNG") for width, height in sides},
        **{f"{width}x{height} jpeg": encoded(image(width, height), "JPEG") for width, height in sides},
    }


KINDS = kinds()


@pytest.mark.parametrize(("resize", "size"), [("squash", 224), ("crop", 96), ("pad", 160)])
def test_photographs_give_the_same_bytes(resize: str, size: int, shared: Path) -> None:
    paths = sorted((shared / "data/clothing/train").rglob("*.jpg"))
    images = [path.read_bytes() for path in paths[:: len(paths) // 200][:200]]
    assert len(images) == 200
    assert differing(traced(size, resize), images, size, resize) == 0


@pytest.mark.filterwarnings("ignore:Tag data larger than file:UserWarning")
@pytest.mark.parametrize("resize", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_bytes(kind: str, resize: str) -> None:
    # TensorFlow cuts off what Pillow rounds where it mixes inks, and the resize rounds that once more.
    tolerance = 2 if "cmyk" in kind else 0
    given, expected = decoder(SIDE, resize)(KINDS[kind]), decoding.decode(KINDS[kind], SIDE, resize)
    assert np.abs(given.astype(int) - expected).max() <= tolerance


def test_a_picture_of_twelve_megapixels() -> None:
    data = encoded(image(4000, 3000), "JPEG", exif=exif(6))
    assert differing(decoder(SIDE, "crop"), [data], SIDE, "crop") == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_any_shape_is_resized_as_opencv_does(policy: str) -> None:
    shape = [tf.TensorSpec([None, None, 3], tf.uint8)]
    graph = tf.function(lambda image: tf_resize.RESIZE[policy](image, SIDE), shape, autograph=False)
    random = np.random.default_rng(5)
    for _ in range(40):
        pixels = random.integers(0, 256, (*random.integers(1, 600, 2), 3), np.uint8)
        np.testing.assert_array_equal(graph(tf.constant(pixels)).numpy(), RESIZE[policy](pixels, SIDE))


def test_pictures_of_two_by_one_are_halved_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = [tf.TensorSpec([None, None, 3], tf.uint8)]

    def differing() -> int:
        graph = tf.function(lambda image: tf_resize.squash(image, 56), shape, autograph=False)
        images = [RANDOM.integers(0, 256, (height, 2 * height, 3), np.uint8) for height in range(60, 200, 4)]
        return sum((graph(tf.constant(image)).numpy() != RESIZE["squash"](image, 56)).any() for image in images)

    assert differing() == 0
    monkeypatch.setattr(tf_resize, "_TABLE", 1)
    assert differing() > 0


SEEN = ("jpeg 6", "png 3", "jpeg of 1", "rgba", "16 bits", "4 colours", "xmp")


def fail_orientation(_data: object) -> object:
    return tf.constant(1), tf.constant(False)


def in_floating_point(image: object, size: int) -> object:
    return tf.cast(tf.round(tf.image.resize(image, (size, size), antialias=True)), tf.uint8)


@pytest.mark.parametrize(
    ("module", "name", "fault", "found"),
    [
        (tf_orientation, "of_jpeg", fail_orientation, {"jpeg 6", "xmp"}),
        (tf_orientation, "of_png", fail_orientation, {"png 3"}),
        (tf_decode, "SPARE", 4, {"jpeg of 1"}),
        (tf_decode, "_veiled", lambda data: tf.io.decode_png(data, 3), {"rgba"}),
        (tf_decode, "_deep_grey", lambda data: tf.repeat(tf.io.decode_png(data, 1), 3, axis=2), {"16 bits"}),
        (tf_decode, "RESIZE", {"squash": in_floating_point}, set(SEEN)),
        (tf_decode, "RESIZE", {"squash": lambda *words: tf_resize.squash(*words)[..., ::-1]}, set(SEEN) - {"16 bits"}),
    ],
    ids=["jpeg not turned", "png not turned", "another scale", "no veil", "8 of 16 bits", "resize", "channels"],
)
def test_faults_are_found(
    module: object, name: str, fault: object, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, fault)
    graph = traced(SIDE, "squash")
    monkeypatch.undo()
    assert {kind for kind in SEEN if differing(graph, [KINDS[kind]], SIDE, "squash")} == found


def test_broken_files_are_errors(tmp_path: Path) -> None:
    broken_files(tmp_path / "broken")
    paths = [path for path in sorted((tmp_path / "broken").iterdir()) if path.is_file()]
    assert len(paths) >= 16
    whole, other = KINDS["progressive"], KINDS["rgba"]
    cut = [data[: len(data) * part // 10] for data in (whole, other) for part in range(1, 10)]
    for data in [*(path.read_bytes() for path in paths), *cut, whole[:-2]]:
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoder(SIDE, "squash")(data)


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a JPEG or PNG"):
        decoder(SIDE, "squash")(encoded(image(60, 40), format))


def test_inks_that_may_be_inverted_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="convert it to RGB"):
        decoder(SIDE, "squash")(without_adobe(KINDS["cmyk jpeg"]))
