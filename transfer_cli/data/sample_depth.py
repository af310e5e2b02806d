"""Samples of more than 8 bits, and layouts that Pillow reads in another sense than their file declares."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImagePalette, TiffImagePlugin

MIN_BITS, MAX_BITS = 8, 16
"""Bits of ordinary samples, and most bits that are read; larger values are refused unless their range is declared."""
_ROWS = 256
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _PLANAR, _WHITE, _COLOUR_MAP = 258, 262, 339, 284, 341, 320
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
# Grey where 0 is white: Pillow can unpack these layouts, but its table lacks them.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
TiffImagePlugin.OPEN_INFO.setdefault((b"II", 0, (1,), 1, (12,), ()), ("I;16", "I;12"))


def correct_layout(image: Image.Image) -> None:
    """Correct what Pillow assumes about an opened file, before its pixels are read."""
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Only Adobe's programs invert ink, and they mark it.
        image.tile = [_with_raw_mode(tile, "CMYK") for tile in image.tile]  # type: ignore[attr-defined]
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    if 2 in tags.get(_SAMPLE_FORMAT, ()) and max(tags.get(_BITS, (1,))) <= MIN_BITS:
        # Pillow reads them without the sign, so that -1 would be white.
        raise ValueError("8-bit samples with a sign are not supported; convert it to 8 bits without a sign")
    if image.mode in ("P", "PA") and max(tags[_COLOUR_MAP]) < 256:
        # Old programs write 8 bits into the 16 of a colour map.
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOUR_MAP]))
    if tags.get(_PLANAR) == 2 and max(tags.get(_BITS, (1,))) == 16 and image.tile[0].codec_name == "raw":
        planes = {_raw_mode(tile)[0] for tile in image.tile}
        if image.mode == "CMYK" or "a" in planes:
            kind = "CMYK" if image.mode == "CMYK" else "premultiplied transparency"
            raise ValueError(f"16-bit {kind} in separate planes is not supported; convert it to PNG")
        # Pillow names a plane by its letter alone, which means 8 bits; a plane without a letter is not shown.
        order = ";16L" if tags.prefix == b"II" else ";16B"
        named = [tile for tile in image.tile if _raw_mode(tile)[0] in "RGBA"]
        image.tile = [_with_raw_mode(tile, _raw_mode(tile)[0] + order) for tile in named]


@dataclass(frozen=True)
class DeepSamples:
    """The samples of more than 8 bits of an opened file, as it declares them.

    Attributes
    ----------
    bits : int
        Bits per sample without the sign, at most 16.
    declared_white : float or None
        The largest sample, if the file declares one that is narrower than `bits`.
    is_inverted : bool
        Whether 0 is white.
    raw_mode : str
        Pillow's name of the layout in the file.
    """

    bits: int
    declared_white: float | None
    is_inverted: bool
    raw_mode: str

    @classmethod
    def of(cls, image: Image.Image) -> DeepSamples | None:
        """Return the samples of an opened image whose pixels are not read yet; None if they have up to 8 bits."""
        tiles = getattr(image, "tile", None)
        raw_mode = _raw_mode(tiles[0]) if tiles else ""
        if image.mode[0] not in "IF" and ";16" not in raw_mode:
            return None
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            return cls(MAX_BITS, None, False, raw_mode)
        tags = image.tag_v2
        # Grey of 32 bits is read as 16, where its values allow it.
        stored = max(tags.get(_BITS, (1,)))
        is_signed = 2 in tags.get(_SAMPLE_FORMAT, ())
        bits = stored - 1 if is_signed and stored <= MAX_BITS else min(stored, MAX_BITS)
        white = _declared_white(tags.get(_WHITE), is_float=image.mode == "F", bits=bits)
        return cls(bits, white, tags.get(_PHOTOMETRIC) == 0, raw_mode)

    @property
    def may_be_narrower(self) -> bool:
        """Whether the file declares 16 bits only, so that its samples may use fewer."""
        return self.bits >= MAX_BITS - 1 and self.declared_white is None

    def to_8_bits(
        self, image: Image.Image, reopen: Callable[[], Image.Image], bit_depth: int | None = None
    ) -> Image.Image:
        """Return an image whose pixels were read with 8 bits per sample, RGB, RGBA, CMYK or grey.

        Parameters
        ----------
        image : Image
        reopen : callable
            Opens the same file again: Pillow reads only one of the two bytes of a colour sample at a time.
        bit_depth : int, optional
            Number of lowest bits that samples use if the file declares 16 only.

        Raises
        ------
        ValueError
            If the range of the values is unknown.
        """
        full = 2.0**self.bits - 1
        white = 2.0**bit_depth - 1 if bit_depth is not None and self.may_be_narrower else self.declared_white or full
        if image.mode[0] in "IF":
            return self._grey_to_8_bits(image, white, full)
        if self.declared_white is not None and int(np.asarray(image).max()) << 8 > white:
            white = full  # the declaration is wrong
        transparent = image.info.get("transparency")
        if white == full == 2**MAX_BITS - 1 and not isinstance(transparent, tuple):
            return image
        high = np.asarray(image)
        low = np.asarray(self._low_bytes(reopen()))
        result = np.empty_like(high)
        for start in range(0, len(high), _ROWS):
            rows = slice(start, start + _ROWS)
            samples = self._joined(high[rows], low[rows])
            result[rows] = _scaled(samples, white)
            if isinstance(transparent, tuple):
                result[rows][(samples == transparent).all(-1)] = 255
        return Image.frombytes(image.mode, image.size, result.tobytes())

    def _grey_to_8_bits(self, image: Image.Image, white: float, full: float) -> Image.Image:
        samples = np.asarray(image)
        low, high = float(samples.min()), float(samples.max())
        if image.mode == "F":
            if self.declared_white is None or not math.isfinite(low + high):
                raise ValueError("floating-point image with an unknown range of values; convert it to 8 or 16 bits")
        elif low < 0 or high > max(2**MAX_BITS - 1, white):
            raise ValueError("32-bit image with values beyond 16 bits; convert it to 8 or 16 bits")
        elif high > white == self.declared_white:
            white = full  # the declaration is wrong
        transparent = image.info.get("transparency")
        result = np.empty(samples.shape, np.uint8)
        for start in range(0, len(samples), _ROWS):
            rows = slice(start, start + _ROWS)
            result[rows] = _scaled(samples[rows], white)
            if self.is_inverted:
                result[rows] = 255 - result[rows]
            if isinstance(transparent, int):
                result[rows][samples[rows] == transparent] = 255
        return Image.fromarray(result)

    def _joined(self, high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Return samples of 16 bits from the two images of their bytes."""
        if self.raw_mode.startswith("LA"):  # `low` has the four bytes of grey and alpha
            high, low = low[..., [0, 0, 0, 2]], low[..., [1, 1, 1, 3]]
        return np.asarray(high.astype(np.uint16) << 8 | low, np.uint16)

    def _low_bytes(self, image: Image.Image) -> Image.Image:
        """Read the low byte of each sample, by telling Pillow the other byte order."""
        tiles = image.tile  # type: ignore[attr-defined]
        is_planar = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PLANAR) == 2
        if self.raw_mode.startswith("RGBa") or (is_planar and tiles[0].codec_name == "libtiff"):
            raise ValueError("16-bit samples in this layout are read at their full range only; convert it to PNG")
        for index, tile in enumerate(tiles):
            raw_mode = _raw_mode(tile)
            other = "RGBA" if raw_mode.startswith("LA") else raw_mode[:-1] + _OTHER_ORDER[raw_mode[-1]]
            tiles[index] = _with_raw_mode(tile, other)
        image.load()
        return image


def used_bits(image: Image.Image) -> int:
    """Return how many of their lowest 16 bits the samples of an image use; the image was read by Pillow alone."""
    if image.mode[0] == "I":
        return int(np.asarray(image).max()).bit_length()
    colours = image.convert("RGB") if image.mode == "RGBA" else image
    # Pillow keeps the high byte of a colour sample.
    return MIN_BITS + int(np.asarray(colours).max()).bit_length()


def _scaled(samples: NDArray[Any], white: float) -> NDArray[np.uint8]:
    scaled = np.rint(samples.astype(np.float32) / np.float32(white / 255))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)


def _declared_white(value: Any, *, is_float: bool, bits: int) -> float | None:
    """Return the largest sample that a file declares (SMaxSampleValue), if it says more than the number of bits."""
    first = value[0] if isinstance(value, tuple) and value else value
    if not isinstance(first, int | float) or not math.isfinite(first) or first <= 0:
        return None
    return None if not is_float and first == 2**bits - 1 else float(first)


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    return tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
