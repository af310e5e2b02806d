"""The one decoder: the bytes of an image file become a square of RGB pixels, or a reason why they cannot."""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from transfer_cli.data.views import View
from transfer_cli.errors import ImageError

DECODER = "pillow-opencv-2"
"""Changes whenever the same file may give other pixels; stored with every bundle."""

MAXIMUM_PIXELS = 300_000_000
MAXIMUM_BYTES = 2**30
# Pillow's own limit is below a large panorama; a larger image is an error, not a warning.
Image.MAX_IMAGE_PIXELS = MAXIMUM_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # broken metadata
# Pillow knows more formats; some of them start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
JPEG_OVERSAMPLING = 1.5
"""A JPEG is decoded at the smallest scale whose side is at least this many times the requested side."""


def decode(data: bytes, size: int, resize: str) -> NDArray[np.uint8]:
    """Decode an image file to RGB.

    EXIF orientation is applied, transparent pixels are blended with white, 16 bits are scaled to 8, and an animation
    gives its first frame. A JPEG is decoded at the smallest of the codec's scales (1/2, 1/4, 1/8) that leaves 1.5
    times `size`, then resized with antialiasing.

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

    pixels: dict[tuple[int, int], NDArray[np.uint8]] = {}
    decoded = []
    for view in views:
        image = _open(data, view.size)
        # Views with the same codec scale share one decoding.
        if image.size not in pixels:
            pixels[image.size] = _upright_rgb(image)
        decoded.append(RESIZE[view.resize](pixels[image.size], view.size))
    return decoded


def decode_to_fit(path: Path, side: int) -> NDArray[np.uint8] | str:
    """Decode the whole image at `path` in its proportions, or return the reason why it cannot be read.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        The longer side has `side` pixels, or fewer if the image is smaller.
    """
    from transfer_cli.data.resizing import resize_to

    data = read_bytes(str(path))
    if isinstance(data, str):
        return data
    try:
        pixels = _upright_rgb(_open(data, side))
        scale = min(1.0, side / max(pixels.shape[:2]))
        return resize_to(pixels, *(max(1, round(scale * length)) for length in pixels.shape[1::-1]))
    except Exception as error:  # codecs raise anything at a broken file
        return failure_reason(error)


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return width and height in the file's header, before EXIF orientation; None if it cannot be read."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.size
    except Exception:  # codecs raise anything at a broken file
        return None


def aspect_ratio(path: Path) -> float:
    """Return width divided by height after EXIF orientation.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
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
            return "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        if status.st_size > MAXIMUM_BYTES:
            return f"larger than {MAXIMUM_BYTES >> 20} MiB"
        with open(path, "rb", buffering=0) as file:
            data: bytes = file.readall()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return data or "the file is empty"


def failure_reason(error: Exception) -> str:
    """Return why an image could not be decoded, for skipped.csv."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a known format"
    return str(error) or type(error).__name__


def _open(data: bytes, size: int) -> Image.Image:
    """Open an image without decoding its pixels; a JPEG is set to the codec's scale for `size`."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.draft(None, (math.ceil(JPEG_OVERSAMPLING * size),) * 2)
    return image


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    with suppress(Exception):  # a broken EXIF block does not make the pixels useless
        image = ImageOps.exif_transpose(image)
    return np.asarray(_to_rgb(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 or 32 bits
        deep = np.asarray(image).astype(np.float32)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("32-bit image with values beyond 16 bits; convert it to 8 or 16 bits")
        return Image.fromarray(np.rint(deep / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point image with an unknown range of values; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")
