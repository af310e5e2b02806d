"""Images are taken as paths, folders, arrays and PIL images, alone or many; all else is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.image_inputs import ImageItem, PixelItem, image_items, item_batches
from transfer_cli.data.views import View
from transfer_cli.errors import FolderError, ImageError

VIEWS = (View(8, "squash"),)
RGB = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)


class Tensor:
    """An array of another library."""

    def __init__(self, values: object) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.asarray(self._values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b", "a", "c"):
        Image.fromarray(RGB).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def names(items: Iterator[ImageItem]) -> list[str]:
    return [item.name if isinstance(item, PixelItem) else Path(item).name for item in items]


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_one_image(folder: Path, kind: type) -> None:
    assert [*image_items(kind(folder / "a.png"))] == [str(folder / "a.png")]


def test_folder_is_its_images_and_what_is_left_out_is_counted(folder: Path) -> None:
    left_out: Counter[str] = Counter()
    assert names(image_items(folder, left_out)) == ["a.png", "b.png", "c.png"]
    assert left_out == {".txt files": 1}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (RGB, ["[0]"]),
        (np.stack([RGB, RGB]), ["[0]", "[1]"]),
        ([RGB, RGB[:3], Image.fromarray(RGB)], ["[0]", "[1]", "[2]"]),
        (Image.fromarray(RGB), ["[0]"]),
        (Tensor(np.stack([RGB, RGB])), ["[0]", "[1]"]),
        ((each for each in (RGB, np.stack([RGB, RGB]))), ["[0]", "[1]", "[2]"]),
        (np.array(["x.png", "y.png"]), ["x.png", "y.png"]),
        (np.array(["x.png", "y.png"], object), ["x.png", "y.png"]),
        (["x.png", RGB, Path("y.png")], ["x.png", "[1]", "y.png"]),
    ],
)
def test_every_kind_of_image_is_taken(given: Any, expected: list[str]) -> None:
    assert names(image_items(given)) == expected


WRONG: dict[str, tuple[object, type[Exception], str]] = {
    "number": (5, TypeError, "Expected images as a path .* Received: int"),
    "none": (None, TypeError, "Received: None"),
    "bytes": (b"\x89PNG", TypeError, "Received: bytes"),
    "mapping": ({"a.jpg": "ant"}, TypeError, "Received: dict"),
    "list of numbers": ([1, 2], TypeError, "Expected each image as a path .* Received: int"),
    "list of lists": ([["a.jpg"]], TypeError, "Received: list"),
    "one wrong among many": (["a.jpg", None], TypeError, "Received: None"),
    "float": (RGB / 255, TypeError, r"uint8, from 0 to 255.*float64\. If its values are from 0 to 1"),
    "int64": (RGB.astype(np.int64), TypeError, r"uint8, from 0 to 255.*int64\.$"),
    "bool": (RGB > 5, TypeError, "uint8"),
    "float in list": ([RGB.astype(np.float32)], TypeError, "float32"),
    "float tensor": (Tensor(RGB / 255), TypeError, "float64"),
    "channels first": (np.zeros((2, 3, 8, 8), np.uint8), ValueError, r"np\.moveaxis\(images, -3, -1\)"),
    "one channels first": (np.zeros((3, 8, 8), np.uint8), ValueError, r"np\.moveaxis"),
    "grayscale": (np.zeros((8, 8), np.uint8), ValueError, r"np\.stack\(\[images\] \* 3, axis=-1\)"),
    "one channel": (np.zeros((2, 8, 8, 1), np.uint8), ValueError, r"np\.repeat\(images, 3, axis=-1\)"),
    "alpha": (np.zeros((8, 8, 4), np.uint8), ValueError, r"images\[\.\.\., :3\]"),
    "five dimensions": (np.zeros((1, 2, 8, 8, 3), np.uint8), ValueError, r"\(h, w, 3\) or \(n, h, w, 3\)"),
    "empty list": ([], ValueError, "received an empty list"),
    "empty tuple": ((), ValueError, "received an empty tuple"),
    "empty array": (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "the array is empty"),
    "image of 16 bits": (Image.new("I;16", (8, 8)), ValueError, "mode I;16"),
    "image of floats": (Image.new("F", (8, 8)), ValueError, "mode F"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_input_is_refused_at_once(kind: str) -> None:
    given, error, message = WRONG[kind]
    with pytest.raises(error, match=message):
        image_items(given)  # type: ignore[arg-type]


def test_generator_is_checked_as_it_is_read() -> None:
    items = image_items(iter(["a.jpg", 3]))  # type: ignore[list-item]
    assert next(items) == "a.jpg"
    with pytest.raises(TypeError, match="Received: int"):
        next(items)
    with pytest.raises(ValueError, match="the iterable is empty"):
        next(image_items(iter(())))


def test_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(FolderError, match=r"No images found in .*left out: 1 \.heic file"):
        next(image_items(tmp_path))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "LA"])
def test_pil_images_of_8_bits_become_rgb(mode: str) -> None:
    (batch,) = item_batches(image_items(Image.fromarray(RGB).convert(mode)), VIEWS, batch_size=4)
    assert (batch.images.shape, batch.images.dtype) == ((1, 8, 8, 3), np.uint8)


def test_array_pil_image_and_file_are_the_same_image(folder: Path) -> None:
    with Image.open(folder / "a.png") as opened:
        given = [folder / "a.png", RGB, Image.fromarray(RGB), opened]
        batches = [*item_batches(image_items(given), VIEWS, batch_size=4)]
    images = np.concatenate([batch.images for batch in batches])
    assert [len(batch.paths) for batch in batches] == [1, 3]
    assert (images == images[0]).all()
    assert [path for batch in batches for path in batch.paths] == [
        str(folder / "a.png"),
        "[1]",
        "[2]",
        str(folder / "a.png"),
    ]


def test_exif_orientation_of_pil_image_is_applied() -> None:
    image = Image.fromarray(RGB)
    image.getexif()[274] = 6
    _, pixels = PixelItem("x", image).decode()
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (4, 6, 3)
    assert PixelItem("x", image).aspect_ratio == 1.5
    assert PixelItem("x", RGB).aspect_ratio == pytest.approx(4 / 6)


def test_broken_pil_image_is_skipped_with_its_reason(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "whole.png")
    (folder / "half.png").write_bytes((folder / "whole.png").read_bytes()[:4000])
    with Image.open(folder / "half.png") as half:
        (batch,) = item_batches(image_items([half, RGB]), VIEWS, batch_size=4)
    assert batch.paths == ("[1]",)
    ((path, reason),) = [(item.path, item.reason) for item in batch.skipped]
    assert (path, bool(reason)) == (str(folder / "half.png"), True)
    with Image.open(folder / "half.png") as half, pytest.raises(ImageError, match="could not be read"):
        next(item_batches(image_items(half), VIEWS, batch_size=4, strict=True))


def test_arrays_come_in_batches_in_order() -> None:
    images = np.stack([np.full((8, 8, 3), number, np.uint8) for number in range(5)])
    batches = [*item_batches(image_items(images), VIEWS, batch_size=2)]
    assert [len(batch.paths) for batch in batches] == [2, 2, 1]
    assert np.concatenate([batch.images for batch in batches])[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
