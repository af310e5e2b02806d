"""The one decoder: the bytes of an image file become a square of RGB pixels, or a reason why they cannot."""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from transfer_cli.data import file_kinds
from transfer_cli.data.damaged_files import without_damage
from transfer_cli.data.decoding_cost import BUDGET, STRIP_PIXELS, check_cost, file_size_reason
from transfer_cli.data.file_structure import check_structure, check_tiff
from transfer_cli.data.sample_depth import DeepSamples, correct_layout
from transfer_cli.data.views import View
from transfer_cli.errors import ImageError, ShortageError
from transfer_cli.quiet_imports import silence_libtiff
from transfer_cli.regular_file import open_regular, problem_of

DECODER = "pillow-opencv-3"
"""Changes whenever the same file may give other pixels; stored with every bundle."""

# `decoding_cost` counts channels, bytes and passes, too.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # broken metadata
# Pillow knows more formats; some of them start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF")
_JPEG_FORMATS = ("JPEG", "MPO")
JPEG_OVERSAMPLING = 1.5
"""A JPEG is decoded at the smallest scale whose side is at least this many times the requested side."""


def decode(data: bytes, size: int, resize: str) -> NDArray[np.uint8]:
    """Decode an image file to RGB.

    EXIF orientation is applied, transparent pixels are blended with white, deeper samples are scaled to 8 bits from the
    range that the file declares, and an animation gives its first frame. A JPEG is decoded at the smallest of the
    codec's scales (1/2, 1/4, 1/8) that leaves 1.5 times `size`, then resized with antialiasing. A damaged file is read
    if it misses no pixel.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8

    Raises
    ------
    Exception
        Any error of the codec if the file is broken.
    """
    return decode_views(data, (View(size, resize),))[0]


def decode_views(data: bytes, views: Sequence[View]) -> list[NDArray[np.uint8]]:
    """Decode an image file once for several views; each view has the same pixels as if it were decoded alone."""
    from transfer_cli.data.resizing import RESIZE  # imports OpenCV, which a pass over cached images does not need

    opened: dict[tuple[tuple[int, int], int | None], Image.Image] = {}
    pixels: dict[tuple[tuple[int, int], int | None], NDArray[np.uint8]] = {}
    keys, memory = [], 0
    for view in views:
        image, needed = _open(data, view.size, view.bit_depth)
        # Views with the same codec scale share one decoding.
        keys.append((image.size, view.bit_depth))
        if keys[-1] not in opened:
            memory += needed
            opened[keys[-1]] = image
    del image  # a decoded image is released before it is resized
    decoded = []
    with BUDGET.reserve(memory):
        for key, view in zip(keys, views, strict=True):
            if key not in pixels:
                pixels[key] = _pixels(opened.pop(key), data, view)
            decoded.append(RESIZE[view.resize](pixels[key], view.size))
    return decoded


def decode_to_fit(path: Path, side: int, bit_depth: int | None = None) -> NDArray[np.uint8] | str:
    """Decode the whole image at `path` in its proportions, or return the reason why it cannot be read.

    `bit_depth` is that of the recipe (see `View`).

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        The longer side has `side` pixels, or fewer if the image is smaller.
    """
    from transfer_cli.data.resizing import resize_to

    with BUDGET.reading(str(path)):
        data = read_bytes(str(path))
        if isinstance(data, str):
            return data
        try:
            with BUDGET.reserve(check_cost(open_image(data, side), check_structure(data), bit_depth)):
                pixels = _pixels(open_image(data, side), data, View(side, "squash", bit_depth))
                scale = min(1.0, side / max(pixels.shape[:2]))
                return resize_to(pixels, *(max(1, round(scale * length)) for length in pixels.shape[1::-1]))
        except Exception as error:  # codecs raise anything at a broken file
            return failure_reason(error, data)


def upright_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return an opened image of 8-bit samples as RGB of shape (h, w, 3), turned as its EXIF orientation says."""
    return _rgb_array(ImageOps.exif_transpose(image))


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return width and height in the file's header, before EXIF orientation; None if it cannot be read."""
    try:
        with open_regular(path) as file, identify(file) as image:
            return image.size
    except Exception as error:  # codecs raise anything at a broken file
        if shortage := ShortageError.of(error, path):
            raise shortage from error
        return None


def aspect_ratio(path: Path) -> float:
    """Return width divided by height after EXIF orientation.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    try:
        with open_regular(path) as file, identify(file) as image:
            width, height = image.size
            rotated = False
            with suppress(Exception):  # a broken EXIF block, as in `_upright_rgb`
                # Orientations 5 to 8 exchange width and height.
                rotated = image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
    except Exception as error:  # codecs raise anything at a broken file
        raise ImageError(f"{path} could not be read: {failure_reason(error)}.") from None
    return height / width if rotated else width / height


def read_bytes(path: str) -> bytes | str:
    """Return the content of an image file, or the reason why it cannot be read."""
    try:
        # Reading a pipe or a device could block the whole run.
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            return _folder_reason(path) if stat.S_ISDIR(status.st_mode) else "not a regular file"
        if reason := problem_of(status):
            return reason
        if reason := file_size_reason(status.st_size):
            return reason
        with open(path, "rb", buffering=0) as file:
            data: bytes = file.readall()
    except (OSError, ValueError, MemoryError) as error:
        if shortage := ShortageError.of(error, path):
            raise shortage from error
        return getattr(error, "strerror", None) or str(error)
    return data or "the file is empty"


def failure_reason(error: Exception, data: bytes = b"") -> str:
    """Return in plain words why an image could not be decoded, for skipped.csv; `data` is the content of the file."""
    if shortage := ShortageError.of(error):
        raise shortage from error
    return file_kinds.reason(error, data)


def _folder_reason(path: str) -> str:
    try:
        os.scandir(path).close()
    except OSError as error:
        return f"a folder that cannot be read: {error.strerror}"
    return "a folder"


def identify(file: IO[bytes]) -> Image.Image:
    """Open an image without decoding its pixels; if its header is damaged, what its file holds beside the damage."""
    start = file.read(256)
    if start[:2] in (b"II", b"MM"):
        check_tiff(file)
    file.seek(0)
    formats = (*_FORMATS, file_kinds.register_heif()) if file_kinds.is_heif(start) else _FORMATS
    try:
        image = Image.open(file, formats=formats)
    except (OSError, SyntaxError, ValueError):
        file.seek(0)
        if (whole := without_damage(file.read())) is None:
            raise
        image = Image.open(io.BytesIO(whole), formats=formats)
    if image.format == "TIFF":
        silence_libtiff()
        file_kinds.refuse_camera_raw(image)
    return image


def open_image(data: bytes, size: int | None = None) -> Image.Image:
    """Open an image without decoding its pixels; a JPEG is set to the codec's scale for `size`."""
    return _open(data, size)[0]


def _open(data: bytes, size: int | None = None, bit_depth: int | None = None) -> tuple[Image.Image, int]:
    """Open an image as `open_image`, and return the bytes of memory that decoding takes, too."""
    passes = check_structure(data)
    image = identify(io.BytesIO(data))
    if size is not None:
        image.draft(None, (math.ceil(JPEG_OVERSAMPLING * size),) * 2)
    correct_layout(image)
    return image, check_cost(image, passes, bit_depth)


def _pixels(image: Image.Image, data: bytes, view: View) -> NDArray[np.uint8]:
    """Decode an opened image, or what its file holds beside the damage."""
    try:
        return _upright_rgb(image, data, view.bit_depth)
    except (OSError, SyntaxError, ValueError):
        if image.format in _JPEG_FORMATS and image.size != (full := open_image(data)).size:
            # The codec cannot scale every kind of JPEG (lossless); whether a file is read must not depend on the size.
            with suppress(OSError, SyntaxError, ValueError):
                return _upright_rgb(full, data, view.bit_depth)
        if (whole := without_damage(data)) is None:
            raise
        return _pixels(open_image(whole, view.size), whole, view)


def _upright_rgb(image: Image.Image, data: bytes, bit_depth: int | None) -> NDArray[np.uint8]:
    samples = DeepSamples.of(image)
    image.load()
    if samples is not None:
        image = _with_orientation_of(image, samples.to_8_bits(image, partial(open_image, data), bit_depth))
    elif image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image = image.convert("RGB")  # programs that know no transparency leave the fourth byte empty
    with suppress(Exception):  # a broken EXIF block does not make the pixels useless
        upright = ImageOps.exif_transpose(image)
        image.close()  # the memory of its pixels
        image = upright
    return _rgb_array(image)


def _with_orientation_of(image: Image.Image, converted: Image.Image) -> Image.Image:
    if converted is not image:
        with suppress(Exception):  # as above
            converted.getexif()[ExifTags.Base.Orientation] = image.getexif()[ExifTags.Base.Orientation]
    return converted


def _rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image to RGB by strips, so that only the result is a copy of the whole image."""
    rows = max(1, STRIP_PIXELS // image.width)
    if image.height <= rows:
        return np.asarray(_to_rgb(image))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(_to_rgb(strip))
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")
