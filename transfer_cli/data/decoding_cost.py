"""What decoding an image would cost, computed from its header, and the memory that all threads share.

A file of some bytes may declare an image of gigabytes. No limit depends on a clock, so that the same files are always
refused.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, TiffImagePlugin

from transfer_cli.data.sample_depth import MAX_BITS, DeepSamples
from transfer_cli.io.cache import parse_size
from transfer_cli.system import return_freed_memory
from transfer_cli.text import megabytes

OPTION = "--max-image-memory"
ENVIRONMENT = "TRANSFER_CLI_MAX_IMAGE_MEMORY"
"""The environment variable of the option."""
DEFAULT_LIMIT = 600_000_000
"""Bytes that decoding one image may take, and that all images take which are decoded at the same time."""
STRIP_PIXELS = 1 << 18
"""Pixels that are converted at a time."""
LARGE_FILE = 16 << 20
"""Files beyond this number of bytes are read one at a time."""
LARGE_IMAGE = 64 << 20
"""The memory of images beyond this number of bytes is returned to the system."""
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# Bytes per pixel that a decoder keeps beside the image as long as it is open, and while it runs (measured).
_KEPT = {"JPEG": 0, "MPO": 0, "PNG": 0, "TIFF": 0, "BMP": 0, "GIF": 0, "WEBP": 8, "AVIF": 4, "HEIF": 3}
_RUNNING = {"JPEG": 0, "MPO": 0, "PNG": 0, "TIFF": 0, "BMP": 2, "GIF": 2, "WEBP": 12, "AVIF": 24, "HEIF": 5}
_UNKNOWN = 24
_LOW_BYTES = 16
"""Bytes per pixel for reading the second byte of samples of 16 bits."""
_RESIZED = 9
"""Bytes per pixel of an RGB image, and of the grid of up to twice its pixels that it is sampled on."""
_COEFFICIENT = 2
_YCBCR = 6
# Decoding time: a pass of a progressive JPEG over a megapixel takes half a millisecond.
_PIXELS_PER_BYTE = 0.5
_PASSED_PIXELS_PER_BYTE = 4
_MIN_PASSED_PIXELS = 4_000_000


class MemoryBudget:
    """The memory of all images that are decoded at the same time; a large image waits until others are done."""

    def __init__(self) -> None:
        self._used = 0
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._large_file = threading.Lock()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, or nothing is reserved; first come, first served."""
        # A thread keeps its turn while it waits: small images would never leave enough memory for a large one.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + size <= limit())
            self._used += size
        try:
            yield
        finally:
            if size > LARGE_IMAGE:
                return_freed_memory()
            with self._changed:
                self._used -= size
                self._changed.notify_all()

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Wait until no other large file is in memory if the file at `path` is large."""
        try:
            is_large = os.stat(path).st_size > LARGE_FILE  # noqa: PTH116
        except (OSError, ValueError):
            is_large = False  # reading the file will tell why
        if not is_large:
            yield
            return
        with self._large_file:
            yield


BUDGET = MemoryBudget()
"""The budget of this process."""


def limit() -> int:
    """Return the bytes that decoding one image may take.

    Raises
    ------
    InputError
        If the environment variable holds no size.
    """
    return _limit(os.environ.get(ENVIRONMENT))


@cache
def _limit(text: str | None) -> int:
    return parse_size(text) if text else DEFAULT_LIMIT


def file_size_reason(size: int) -> str | None:
    """Return why a file of `size` bytes is not read; None if it may be read."""
    return None if size <= limit() else _reason(f"a file of {_size(size)}", size)


def check_cost(image: Image.Image, passes: int, bit_depth: int | None = None) -> int:
    """Return the bytes of memory that decoding and resizing an opened image takes at most.

    Parameters
    ----------
    image : Image
        Opened, not decoded; a JPEG is set to the codec's scale.
    passes : int
        How often the decoder passes over all pixels (progressive JPEG).
    bit_depth : int, optional
        See `View`.

    Raises
    ------
    ValueError
        If the memory, or the time that it stands for, exceeds the limit.
    """
    width, height = (length * _scale(image) for length in image.size)
    passes = max(passes, _tile_passes(image))
    what = f"{width} x {height} pixels ({image.format})"
    memory = _memory(image, passes, bit_depth)
    time = int(width * height / _PIXELS_PER_BYTE)
    if passes > 1:
        time = max(time, passes * max(width * height, _MIN_PASSED_PIXELS) // _PASSED_PIXELS_PER_BYTE)
        what += f" in {passes} passes"
    if max(memory, time) > limit():
        cost = f"{_size(memory)} of memory" if memory > time else f"the time of {_size(time)} of memory"
        raise ValueError(_reason(f"{what}, {cost}", max(memory, time)))
    return memory


def _reason(what: str, needed: int) -> str:
    # Rounded up, so that the size to type is enough.
    size = f"{-(-needed // 10**8) / 10:g}GB"
    return (
        f"too large: {what} exceeds limit of {_size(limit())} per image; if you trust the file: "
        f"transfer-cli {OPTION} {size} COMMAND ..."
    )


def _size(size: int) -> str:
    return megabytes(size).replace(".0 ", " ")


def _memory(image: Image.Image, passes: int, bit_depth: int | None) -> int:
    pixels = image.width * image.height
    stored = pixels * _BYTES_PER_PIXEL.get(image.mode, 4)
    decoder = _decoder_memory(image, passes)
    conversion = stored + 3 * pixels + 16 * max(image.width, STRIP_PIXELS)
    samples = DeepSamples.of(image)
    if samples is not None and image.mode[0] in "IF":
        conversion = max(3 * stored, conversion + pixels)
    elif samples is not None and (
        bit_depth or samples.declared_white or samples.bits < MAX_BITS or "transparency" in image.info
    ):
        conversion += decoder + _LOW_BYTES * pixels
    # An EXIF orientation makes a copy; the decoded image is released before it is resized.
    kept = _KEPT.get(image.format or "", _UNKNOWN) * pixels
    return max(kept + max(stored + decoder, 2 * stored, conversion), _RESIZED * pixels)


def _decoder_memory(image: Image.Image, passes: int) -> int:
    """Return the bytes that a decoder takes beside the image while it runs."""
    row = 16 * image.width  # two rows of up to four 16-bit samples
    if image.format in ("JPEG", "MPO") and passes > 1:
        return row + _coefficients(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return row + _block(image)
    return row + _RUNNING.get(image.format or "", _UNKNOWN) * image.width * image.height


def _scale(image: Image.Image) -> int:
    """Return by how much a JPEG will be reduced while it is decoded."""
    config: tuple[int, ...] = getattr(image, "decoderconfig", ())
    return config[0] if image.format in ("JPEG", "MPO") and config else 1


def _coefficients(image: Image.Image) -> int:
    """Return the bytes of all coefficients of a JPEG, which a decoder with several passes keeps at full size."""
    samplings = [(across, down) for _, across, down, _ in getattr(image, "layer", ())] or [(1, 1)] * 3
    largest = max(across for across, _ in samplings) * max(down for _, down in samplings)
    share = sum(across * down for across, down in samplings) / max(1, largest)
    return int(_COEFFICIENT * image.width * image.height * _scale(image) ** 2 * share)


def _block(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the bytes of the strip or tile that libtiff decodes at a time; uncompressed files are read by rows."""
    tags = image.tag_v2
    if image.tile and image.tile[0].codec_name != "libtiff":
        return 0
    across, down = image.width, min(image.height, _number(tags, TiffImagePlugin.ROWSPERSTRIP, image.height))
    if TiffImagePlugin.TILEOFFSETS in tags:
        across, down = (_number(tags, tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    # libtiff itself converts YCbCr, to 4 bytes per pixel beside its own block.
    is_converted = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _YCBCR
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) * _number(tags, TiffImagePlugin.SAMPLESPERPIXEL, 1)
    return int(across * down * (8 if is_converted else -(-bits // 8)))


def _tile_passes(image: Image.Image) -> int:
    """Return how often the tiles of an uncompressed image cover it: a damaged file may list them many times."""
    tiles = getattr(image, "tile", ())
    if len(tiles) < 2:
        return 1
    covered = sum((right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in tiles)
    return int(covered // max(1, image.width * image.height))


def _number(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value) if isinstance(value, int) and value > 0 else default
