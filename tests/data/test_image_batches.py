"""Batches of decoded images."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_decoding import encoded, halves
from transfer_cli.data import image_batches
from transfer_cli.data.image_batches import batches, view_batches
from transfer_cli.data.views import View
from transfer_cli.errors import ImageError


def save_greys(tmp_path: Path, count: int) -> list[str]:
    for number in range(count):
        # Each image has its own grey level, so that rows can be told apart.
        Image.new("L", (40, 40), number).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(count)]


@pytest.mark.parametrize("threads", [1, 5])
def test_batches_any_number_of_threads_keeps_order_and_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(image_batches, "cpu_count", lambda: threads)
    paths = save_greys(tmp_path, 50)
    got = list(batches(paths, size=32, resize="squash", batch_size=8))
    assert [len(batch.paths) for batch in got] == [8] * 6 + [2]
    assert [index for batch in got for index in batch.indices] == list(range(50))
    assert [path for batch in got for path in batch.paths] == paths
    assert [int(image[0, 0, 0]) for batch in got for image in batch.images] == list(range(50))
    digests = [digest for batch in got for digest in batch.digests]
    assert digests == [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def test_batches_endless_paths_are_read_in_bounded_memory(tmp_path: Path) -> None:
    (path,) = save_greys(tmp_path, 1)
    consumed = 0

    def endless() -> Iterator[str]:
        nonlocal consumed
        while True:
            consumed += 1
            yield path

    stream = batches(endless(), size=32, resize="squash", batch_size=8)
    for _ in range(10):
        next(stream)
    assert consumed <= 10 * 8 + 4 * 8
    stream.close()


def broken_files(folder: Path) -> dict[str, str]:
    """Make files broken in twenty ways; return each path and a part of its expected reason."""
    good = encoded(halves(), "JPEG", quality=95)
    png = encoded(halves(), "PNG")
    folder.mkdir(exist_ok=True)
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "truncated.jpg": (good[: len(good) // 2], "truncated"),
        "header_only.jpg": (good[:20], ""),
        "text.jpg": (b"this is no image", "not an image"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "not an image"),
        "zeros.jpg": (bytes(5000), "not an image"),
        "truncated.png": (png[: len(png) // 2], ""),
        "bad_checksum.png": (png[:40] + b"\xff\xff" + png[42:], ""),
        "signature_only.png": (png[:8], ""),
        "truncated.gif": (encoded(halves(), "GIF")[:30], ""),
        "truncated.bmp": (encoded(halves(), "BMP")[:100], ""),
        "truncated.tif": (encoded(halves(), "TIFF")[:200], ""),
        "truncated.webp": (encoded(halves(), "WEBP")[:30], ""),
        "huge.png": (_png_header(60_000, 60_000), "exceeds limit"),
        "float.tif": (encoded(Image.new("F", (40, 40)), "TIFF"), "unknown range of values"),
        "archive.jpg": (b"PK\x03\x04" + bytes(100), "not an image"),
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


def test_batches_broken_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    reasons = broken_files(tmp_path / "broken")
    good = save_greys(tmp_path, 3)
    paths = [good[0], *reasons, *good[1:]]
    got = list(batches(paths, size=32, resize="squash", batch_size=2))
    skipped = {item.path: item.reason for batch in got for item in batch.skipped}
    assert list(skipped) == list(reasons)
    for path, reason in reasons.items():
        assert reason.casefold() in skipped[path].casefold()
        assert skipped[path]
    assert [path for batch in got for path in batch.paths] == good
    assert [index for batch in got for index in batch.indices] == [0, len(paths) - 2, len(paths) - 1]


def test_batches_strict_raises_at_the_first_broken_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"x\.jpg could not be read: the file is empty"):
        list(batches([str(tmp_path / "x.jpg")], size=32, resize="squash", batch_size=2, strict=True))


def test_batches_several_views_equal_each_view_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((1200, 900))
    for name in ("a.jpg", "b.png", "c.jpg"):
        coarse.rotate(len(name)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    paths = sorted(map(str, tmp_path.iterdir()))
    views = (View(96, "crop"), View(100, "squash"), View(400, "pad"), View(96, "crop"))
    (size, resize, _), *others = views
    together = list(batches(paths, size=size, resize=resize, other_views=others, batch_size=2))
    assert [len(batch.views) for batch in together] == [4] * len(together)
    for place, view in enumerate(views):
        alone = list(batches(paths, size=view.size, resize=view.resize, batch_size=2))
        expected = np.concatenate([batch.images for batch in alone])
        np.testing.assert_array_equal(np.concatenate([batch.views[place] for batch in together]), expected)
        assert expected.shape == (3, view.size, view.size, 3)
    assert [item.path for batch in together for item in batch.skipped] == [str(tmp_path / "broken.jpg")]
    assert not np.array_equal(together[0].views[0], together[0].views[1][:, :96, :96])


@pytest.mark.parametrize("broken", [(), (3, 4, 9)])
def test_batches_end_after_each_part(tmp_path: Path, broken: tuple[int, ...]) -> None:
    """A part of the paths alone gives the batches that it gives among others."""
    paths = save_greys(tmp_path, 22)
    for number in broken:
        Path(paths[number]).write_bytes(b"broken")
    views = [View(8, "squash")]
    whole = [batch.paths for batch in view_batches(paths, views, batch_size=4, part_size=8)]
    alone = [
        batch.paths
        for start in (0, 8, 16)
        for batch in view_batches(paths[start : start + 8], views, batch_size=4, part_size=8)
    ]
    assert whole == alone
    shifted = [batch.paths for batch in view_batches(paths, views, batch_size=4)]
    assert (whole == shifted) == (not broken)
