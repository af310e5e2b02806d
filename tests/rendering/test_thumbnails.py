from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_cli.data.decoding import decode_to_fit
from transfer_cli.rendering.thumbnails import ThumbnailStore, thumbnails


def test_thumbnails_are_whole_upright_and_small(tmp_path: Path) -> None:
    pixels = np.zeros((60, 200, 3), np.uint8)
    pixels[:, :100] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "rotated.png", exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    uris = thumbnails(["rotated.png", "broken.jpg", "missing.jpg", "rotated.png"], tmp_path, side=50)
    assert list(uris) == ["rotated.png", "broken.jpg", "missing.jpg"]
    assert uris["broken.jpg"] is None
    assert uris["missing.jpg"] is None
    uri = uris["rotated.png"]
    assert uri is not None
    image = Image.open(BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))
    assert image.size == (15, 50)
    assert np.asarray(image)[:20].mean() > 200
    assert np.asarray(image)[-20:].mean() < 50


def test_decode_to_fit_does_not_enlarge(tmp_path: Path) -> None:
    Image.new("RGB", (9, 4)).save(tmp_path / "small.png")
    small = decode_to_fit(tmp_path / "small.png", 50)
    assert not isinstance(small, str)
    assert small.shape == (4, 9, 3)
    assert decode_to_fit(tmp_path, 50) == "a folder"


def test_thumbnail_store_stops_at_its_maximum_size(tmp_path: Path) -> None:
    Image.new("RGB", (9, 4)).save(tmp_path / "a.png")
    store = ThumbnailStore(tmp_path, max_bytes=0)
    store.add(["a.png", "missing.png"])
    assert len(store) == 0
    assert store["a.png"] is None
    assert not store.missing
    store = ThumbnailStore(tmp_path)
    store.add(["a.png", "missing.png"])
    assert len(store) == 1
    assert store.missing == {"missing.png"}


def test_thumbnails_show_the_bit_depth_that_was_chosen(tmp_path: Path) -> None:
    deep = np.full((20, 20), 2**12 - 1, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    dark, bright = (thumbnails(["deep.png"], tmp_path, bit_depth=depth)["deep.png"] for depth in (None, 12))
    assert pixel(dark) < 30
    assert pixel(bright) > 225
    store = ThumbnailStore(tmp_path, bit_depth=12)
    store.add(["deep.png"])
    assert store["deep.png"] == bright


def pixel(uri: str | None) -> int:
    """Return the brightness of one pixel of a thumbnail."""
    assert uri is not None
    return int(np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"))[5, 5])
