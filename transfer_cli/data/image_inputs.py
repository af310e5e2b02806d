"""Images as Python users have them: paths, folders, arrays, PIL images, alone or many; anything else is refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from transfer_cli.arguments import StrPath, as_text, type_of
from transfer_cli.data.decoding import failure_reason, upright_pixels
from transfer_cli.data.image_batches import ImageBatch, pixel_batches, view_batches
from transfer_cli.data.views import View
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import describe_left_out, expand_paths

ImageInput = StrPath | NDArray[np.uint8] | Image.Image
"""A file or folder, RGB pixels of shape (h, w, 3) or (n, h, w, 3), or an image of Pillow."""
ImageInputs = ImageInput | Iterable[ImageInput]
TAKEN = (
    "a path (str or os.PathLike) of an image or a folder, a uint8 array of shape (h, w, 3) or (n, h, w, 3), "
    "a PIL image, or an iterable of these"
)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of Pillow with more than 8 bits per sample, whose range only the file tells."""


@runtime_checkable
class _ArrayLike(Protocol):
    """An array of NumPy or of a library that can give one: a tensor, a column of a data frame."""

    def __array__(self, *arguments: Any, **options: Any) -> NDArray[Any]: ...


@dataclass(frozen=True)
class PixelItem:
    """An image in memory, and its name among the predictions."""

    name: str
    pixels: NDArray[np.uint8] | Image.Image

    @property
    def aspect_ratio(self) -> float:
        """Width divided by height."""
        if isinstance(self.pixels, np.ndarray):
            height, width = self.pixels.shape[:2]
        else:
            width, height = ImageOps.exif_transpose(self.pixels).size
        return float(width / height)

    def decode(self) -> tuple[str, NDArray[np.uint8] | str]:
        """Return the name and the RGB pixels, or why they cannot be read: Pillow reads a file when it is used."""
        if isinstance(self.pixels, np.ndarray):
            return self.name, self.pixels
        try:
            return self.name, upright_pixels(self.pixels)
        except Exception as error:  # codecs raise anything at a broken file
            return self.name, failure_reason(error)


ImageItem = str | PixelItem
"""A file, or an image in memory."""
_Checked = str | NDArray[np.uint8] | Image.Image


def image_items(images: ImageInputs, left_out: Counter[str] | None = None) -> Iterator[ImageItem]:
    """Yield each image that a user gave, in order; folders are replaced by the images in them.

    All that is not a generator is checked at once.

    Parameters
    ----------
    images : path, array, PIL image, or an iterable of these
    left_out : Counter, optional
        Gets the number of files in folders that are not images, by reason.

    Raises
    ------
    TypeError
        If an image has another type, or its pixels are not uint8.
    ValueError
        If an array has another shape, or there are no images.
    """
    given: Any = images
    if isinstance(given, _ArrayLike) and not isinstance(given, Image.Image):
        given = np.asarray(given)
        # An array of paths, or a column of a table with them: of objects or text, in the words of NumPy.
        given = given.tolist() if given.dtype.kind in "OUT" and given.ndim == 1 else given
    checked: Iterable[_Checked]
    if isinstance(given, str | os.PathLike | np.ndarray | Image.Image):
        checked = [_checked(given)]
    elif not isinstance(given, Iterable) or isinstance(given, bytes | bytearray | memoryview | Mapping):
        raise TypeError(f"Expected images as {TAKEN}. Received: {type_of(given)}.")
    elif isinstance(given, Collection):
        if not len(given):
            raise ValueError(f"There are no images: received an empty {type(given).__name__}. Expected {TAKEN}.")
        checked = [_checked(item) for item in given]
    else:
        checked = map(_checked, given)
    return _items(checked, Counter() if left_out is None else left_out)


def item_batches(
    items: Iterable[ImageItem], views: Sequence[View], *, batch_size: int, strict: bool = False
) -> Iterator[ImageBatch]:
    """Yield images in batches, in order, decoded in each of `views`; see `image_batches.view_batches`."""
    for in_memory, group in groupby(items, key=lambda item: isinstance(item, PixelItem)):
        if in_memory:
            pixels = (item.decode() for item in group if isinstance(item, PixelItem))
            yield from pixel_batches(pixels, views, batch_size=batch_size, strict=strict)
        else:
            paths = (item for item in group if isinstance(item, str))
            yield from view_batches(paths, views, batch_size=batch_size, strict=strict)


def _items(checked: Iterable[_Checked], left_out: Counter[str]) -> Iterator[ImageItem]:
    numbers, last = count(), None
    for last in checked:
        if isinstance(last, str):
            for path in expand_paths([last], left_out):
                next(numbers)
                yield path
        elif isinstance(last, Image.Image):
            number = next(numbers)
            yield PixelItem(str(getattr(last, "filename", "")) or f"[{number}]", last)
        else:
            for pixels in last if last.ndim == 4 else last[None]:
                yield PixelItem(f"[{next(numbers)}]", pixels)
    if next(numbers) == 0:
        if last is None:
            raise ValueError(f"There are no images: the iterable is empty. Expected {TAKEN}.")
        found = f" Received: {text}." if (text := describe_left_out(left_out)) else ""
        raise FolderError(f"No images found in {last}. Expected image files, or folders of images.{found}")


def _checked(item: object) -> _Checked:
    """Return one image, or an array of several; raise TypeError or ValueError if it is something else."""
    if isinstance(item, str | os.PathLike):
        return as_text(item, "a path")
    if isinstance(item, Image.Image):
        if item.mode in _DEEP_MODES:
            raise ValueError(
                f"Expected a PIL image with 8 bits per sample. Received: mode {item.mode}. Give the path of the file: "
                "it tells the range of the samples."
            )
        return item
    if isinstance(item, _ArrayLike):
        return _checked_array(np.asarray(item))
    raise TypeError(f"Expected each image as {TAKEN}. Received: {type_of(item)}.")


def _checked_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    received = f"Received: {type_of(array)}."
    if not array.size:
        raise ValueError(f"There are no images: the array is empty. Expected {TAKEN}. {received}")
    if array.dtype != np.uint8:
        scale = " If its values are from 0 to 1: (255 * images).round().astype('uint8')" * (array.dtype.kind == "f")
        raise TypeError(f"Expected pixels as uint8, from 0 to 255. {received}{scale}")
    if array.ndim in (3, 4) and array.shape[-1] == 3:
        return array
    raise ValueError(f"Expected RGB images of shape (h, w, 3) or (n, h, w, 3). {received}{_hint_of_shape(array)}")


def _hint_of_shape(array: NDArray[np.uint8]) -> str:
    if array.ndim in (3, 4) and array.shape[-1] == 4:
        return " Without the alpha channel: images[..., :3]"
    if array.ndim in (3, 4) and array.shape[-3] == 3:
        return " With channels last: np.moveaxis(images, -3, -1)"
    if array.ndim in (3, 4) and array.shape[-1] == 1:
        return " Grayscale as RGB: np.repeat(images, 3, axis=-1)"
    return " Grayscale as RGB: np.stack([images] * 3, axis=-1)" if array.ndim in (2, 3) else ""
