from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from transfer_cli.data import decoding
from transfer_cli.data.decoding import batches, decode
from transfer_cli.data.resizing import resized
from transfer_cli.data.views import View
from transfer_cli.errors import ImageError

SIDE = 64


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)  # type: ignore[arg-type]
    return target.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Return a picture whose left half is black and whose right half is white."""
    image = Image.new("L", (80, 40), 0)
    image.paste(255, (40, 0, 80, 40))
    return image.convert(mode)


def check_halves(pixels: np.ndarray, tolerance: int = 12) -> None:
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert int(pixels[:, : SIDE // 2 - 4].max()) <= tolerance
    assert int(pixels[:, SIDE // 2 + 4 :].min()) >= 255 - tolerance


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
        ("P", "GIF"),
        ("RGB", "TIFF"),
        ("CMYK", "TIFF"),
        ("LAB", "TIFF"),
        ("RGB", "WEBP"),
        ("RGBA", "WEBP"),
    ],
)
def test_every_mode_and_format_gives_the_same_picture(mode: str, format: str) -> None:
    image = halves("RGB").convert("LAB") if mode == "LAB" else halves(mode)
    check_halves(decode(encoded(image, format), SIDE, "squash"))


def test_the_first_picture_of_a_phones_mpo() -> None:
    data = encoded(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (80, 40), "red")])
    check_halves(decode(data, SIDE, "squash"))


def test_a_format_that_starts_other_programs_is_no_picture() -> None:
    with pytest.raises(UnidentifiedImageError):
        decode(encoded(halves(), "EPS"), SIDE, "squash")


def test_sixteen_bits_are_scaled_not_cut() -> None:
    ramp = np.tile(np.linspace(0, 65535, 80).astype(np.uint16), (40, 1))
    for format in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(ramp), format), 80, "squash")
        expected = np.linspace(0, 255, 80)
        assert np.abs(pixels[20, :, 0].astype(float) - expected).max() < 2


def test_floating_point_is_refused_with_a_reason() -> None:
    with pytest.raises(ValueError, match="black and white are not known"):
        decode(encoded(Image.new("F", (40, 40), 0.5), "TIFF"), SIDE, "squash")


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (decode(encoded(image, "PNG"), SIDE, "squash") == 255).all()
    palette = Image.new("P", (40, 40), 3)
    assert (decode(encoded(palette, "GIF", transparency=3), SIDE, "squash") == 255).all()


def test_the_first_frame_of_an_animation() -> None:
    frames = [halves(), Image.new("RGB", (80, 40), "red")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    check_halves(decode(data, SIDE, "squash"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    upright = np.asarray(halves())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif, quality=95)
    check_halves(decode(data, SIDE, "squash"))


def test_a_broken_exif_block_does_not_lose_the_picture() -> None:
    data = encoded(halves(), "JPEG")
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 20
    segment = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    check_halves(decode(data[:2] + segment + data[2:], SIDE, "squash"))


def test_draft_scaling_changes_little() -> None:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (60, 80, 3), np.uint8)).resize(
        (1600, 1200), Image.Resampling.BICUBIC
    )
    data = encoded(coarse, "JPEG", quality=95)
    full = resized(np.asarray(coarse), SIDE, SIDE)
    difference = np.abs(decode(data, SIDE, "squash").astype(float) - full)
    assert difference.mean() < 2


def test_resize_policies() -> None:
    wide = Image.new("RGB", (120, 40), "white")
    wide.paste((0, 0, 0), (0, 0, 40, 40))
    data = encoded(wide, "PNG")
    squashed = decode(data, 60, "squash")
    assert squashed[30, 10].tolist() == [0, 0, 0]
    assert squashed[30, 50].tolist() == [255, 255, 255]
    assert (decode(data, 60, "crop") == 255).mean() > 0.95
    padded = decode(data, 60, "pad")
    assert padded[5, 50].tolist() == [0, 0, 0]
    assert padded[30, 50].tolist() == [255, 255, 255]


def many(tmp_path: Path, count: int) -> list[str]:
    for number in range(count):
        # Each picture is of one grey of its own, so that a row can be told from its neighbours.
        Image.new("L", (40, 40), number).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(count)]


@pytest.mark.parametrize("threads", [1, 5])
def test_batches_are_in_order_with_digests(tmp_path: Path, threads: int) -> None:
    paths = many(tmp_path, 50)
    got = list(batches(paths, size=32, resize="squash", batch_size=8, threads=threads))
    assert [len(batch.paths) for batch in got] == [8] * 6 + [2]
    assert [index for batch in got for index in batch.indices] == list(range(50))
    assert [path for batch in got for path in batch.paths] == paths
    assert [int(image[0, 0, 0]) for batch in got for image in batch.images] == list(range(50))
    digests = [digest for batch in got for digest in batch.digests]
    assert digests == [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def test_memory_is_bounded_however_many_paths_there_are(tmp_path: Path) -> None:
    (path,) = many(tmp_path, 1)
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield path

    stream = batches(endless(), size=32, resize="squash", batch_size=8)
    for _ in range(10):
        next(stream)
    assert taken <= 10 * 8 + 4 * 8
    stream.close()


def broken_files(folder: Path) -> dict[str, str]:
    """Make files broken in twenty ways; return each path and a part of the reason expected for it."""
    good = encoded(halves(), "JPEG", quality=95)
    png = encoded(halves(), "PNG")
    folder.mkdir(exist_ok=True)
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "truncated.jpg": (good[: len(good) // 2], "truncated"),
        "header_only.jpg": (good[:20], ""),
        "text.jpg": (b"this is no picture", "not a picture"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "not a picture"),
        "zeros.jpg": (bytes(5000), "not a picture"),
        "truncated.png": (png[: len(png) // 2], ""),
        "bad_checksum.png": (png[:40] + b"\xff\xff" + png[42:], ""),
        "signature_only.png": (png[:8], ""),
        "truncated.gif": (encoded(halves(), "GIF")[:30], ""),
        "truncated.bmp": (encoded(halves(), "BMP")[:100], ""),
        "truncated.tif": (encoded(halves(), "TIFF")[:200], ""),
        "truncated.webp": (encoded(halves(), "WEBP")[:30], ""),
        "huge.png": (_png_header(60_000, 60_000), "exceeds limit"),
        "float.tif": (encoded(Image.new("F", (40, 40)), "TIFF"), "black and white are not known"),
        "archive.jpg": (b"PK\x03\x04" + bytes(100), "not a picture"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    reasons = {str(folder / name): reason for name, (_, reason) in contents.items()}
    return reasons | {
        str(folder / "dangling.jpg"): "No such file",
        str(folder / "loop.jpg"): "symbolic links",
        str(folder / "pipe.jpg"): "not a regular file",
        str(folder / "missing.jpg"): "No such file",
    }


def _png_header(width: int, height: int) -> bytes:
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + bytes(64)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def test_each_broken_file_is_skipped_with_its_reason(tmp_path: Path) -> None:
    reasons = broken_files(tmp_path / "broken")
    good = many(tmp_path, 3)
    paths = [good[0], *reasons, *good[1:]]
    got = list(batches(paths, size=32, resize="squash", batch_size=2))
    skipped = {item.path: item.reason for batch in got for item in batch.skipped}
    assert list(skipped) == list(reasons)
    for path, reason in reasons.items():
        assert reason.casefold() in skipped[path].casefold()
        assert skipped[path]
    assert [path for batch in got for path in batch.paths] == good
    assert [index for batch in got for index in batch.indices] == [0, len(paths) - 2, len(paths) - 1]


def test_strict_stops_at_the_first(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"x\.jpg could not be read: the file is empty"):
        list(batches([str(tmp_path / "x.jpg")], size=32, resize="squash", batch_size=2, strict=True))


def test_several_views_are_what_each_is_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((1200, 900))
    for name in ("a.jpg", "b.png", "c.jpg"):
        coarse.rotate(len(name)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    paths = sorted(map(str, tmp_path.iterdir()))
    views = (View(96, "crop"), View(100, "squash"), View(400, "pad"), View(96, "crop"))
    (size, resize), *others = views
    together = list(batches(paths, size=size, resize=resize, others=others, batch_size=2))
    assert [len(batch.views) for batch in together] == [4] * len(together)
    for place, view in enumerate(views):
        alone = list(batches(paths, size=view.size, resize=view.resize, batch_size=2))
        expected = np.concatenate([batch.images for batch in alone])
        np.testing.assert_array_equal(np.concatenate([batch.views[place] for batch in together]), expected)
        assert expected.shape == (3, view.size, view.size, 3)
    assert [item.path for batch in together for item in batch.skipped] == [str(tmp_path / "broken.jpg")]
    assert not np.array_equal(together[0].views[0], together[0].views[1][:, :96, :96])


def test_a_picture_is_decoded_once_for_views_of_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    upright = decoding._upright_rgb
    monkeypatch.setattr(decoding, "_upright_rgb", lambda image: decoded.append(image.size) or upright(image))
    data = encoded(Image.new("RGB", (1600, 1200)), "JPEG")
    decoding._seen(data, (View(96, "crop"), View(100, "squash"), View(400, "crop"), View(64, "pad")))
    assert decoded == [(200, 150), (800, 600)]
