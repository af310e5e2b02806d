"""What a file is that could not be read as an image, and what to do about it; decided by its content, not its name."""

from __future__ import annotations

import io
import re
import struct
import traceback
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from transfer_cli.io.discovery import HEIF_EXTRA

UNKNOWN = "not an image in a known format"
_PROGRAM = "transfer_cli."
_CONVERT = "convert it to JPEG or PNG"
_CAMERA_RAW = f"a camera raw image, which is not read; {_CONVERT}"
_OTHER_IMAGES = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"II\xbc", "JPEG XR"),
    (b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS texture"),
    (b"SIMPLE  =", "FITS"),
    (b"\0\0\x01\0", "icon (ICO)"),
    (b"icns", "icon (ICNS)"),
    (b"%!PS", "PostScript"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIRS", "camera raw"),
    (b"MMOR", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"FOVb", "camera raw"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera raw"),
)
_OTHER_FILES = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer; fetch the image: git lfs pull"),
    (b"version https://hawser.github.com/spec/", "a Git LFS pointer; fetch the image: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer; fetch the image: git annex get"),
    (b"%PDF-", "a PDF document; export its pages as images"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\0\x05\x16\x07", "the companion file that macOS writes beside a file (AppleDouble); use the image itself"),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut; use the image that it points to"),
    (b"[InternetShortcut]", "a link to a web page; use the image that it points to"),
    (b"\xd0\xcf\x11\xe0", "a Windows thumbnail database or an Office document"),
    (b"\x93NUMPY", "a NumPy array; save it as PNG"),
    (b"\x89HDF", "an HDF5 file; save its images as PNG"),
    (b"\x1a\x45\xdf\xa3", "a video; save its frames as images"),
    (b"FLV\x01", "a video; save its frames as images"),
    (b"\0\0\x01\xba", "a video; save its frames as images"),
    (b"ID3", "a sound file"),
)
_KNOWN_IMAGES = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_CONTAINERS = {b"mif1", b"mif2", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_MAX_LIBRARY_TEXT = 100
# Compressions of TIFF that the libtiff of Pillow may lack; the others are named by Pillow.
_TIFF_COMPRESSIONS = {
    6: "old JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_NEW_SUBFILE_TYPE, _SUB_IFDS = 254, 330
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT, _DNG_VERSION = 258, 259, 262, 277, 339, 50706
_SAMPLE_FORMATS = {2: "signed whole numbers", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
_PHOTOMETRICS = {8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "camera raw", 34892: "camera raw"}


class HeifError(ValueError):
    """A HEIC or HEIF image without the package that reads it."""


def is_heif(data: bytes) -> bool:
    """Return whether a file is a HEIC or HEIF image: one for pillow-heif, not an AVIF image."""
    if data[4:8] != b"ftyp":
        return False
    brands = _brands(data)
    return brands[0] in _HEIF_BRANDS or (brands[0] in _HEIF_CONTAINERS and not _AVIF_BRANDS & {*brands})


@cache
def register_heif() -> str:
    """Make Pillow read HEIC and HEIF images, and return the name of the format.

    Raises
    ------
    HeifError
        If pillow-heif is not installed.
    """
    if find_spec("pillow_heif") is None:
        raise HeifError(f"a HEIC image; to read HEIC: {HEIF_EXTRA}")
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return "HEIF"


def refuse_camera_raw(image: Image.Image) -> None:
    """Raise ValueError if a TIFF image is only the thumbnail of a camera raw file (NEF, ARW, DNG)."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_NEW_SUBFILE_TYPE, 0) & 1 and _SUB_IFDS in tags:
        raise ValueError(_CAMERA_RAW)


def reason(error: Exception, data: bytes = b"") -> str:
    """Return in plain words why an image could not be decoded, and what to do.

    Parameters
    ----------
    error : Exception
        What the decoder raised.
    data : bytes
        Content of the file; its beginning is enough.
    """
    if isinstance(error, MemoryError):
        return "not enough memory to decode it; close other programs, or make the image smaller"
    if _is_ours(error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return describe(data) or _damaged(error, data)


def describe(data: bytes) -> str | None:
    """Return what a file is that is not an image of a format that is read, and what to do; None if it is unknown."""
    start = data[:1024]
    if data[4:8] == b"ftyp":
        return _describe_iso_media(data)
    for signature, name in _OTHER_IMAGES:
        if start.startswith(signature):
            return f"{_article(name)} {name} image, which is not read; {_CONVERT}"
    for signature, what in _OTHER_FILES:
        if start.startswith(signature):
            return f"not an image: {what}"
    if start[:4] == b"RIFF" and start[8:12] != b"WEBP":
        return f"not an image: a {'video; save its frames as images' if start[8:12] == b'AVI ' else 'sound file'}"
    if start[128:132] == b"DICM":
        return f"a DICOM image, which is not read; {_CONVERT}"
    if start[257:262] == b"ustar":
        return "not an image: a tar archive; unpack it"
    if re.match(rb"P[1-7]\s", start):
        return f"a Netpbm (PGM, PPM) image, which is not read; {_CONVERT}"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _describe_tiff(data)
    return _describe_text(start) or (f"{UNKNOWN}: it holds only zeros" if data and not data.strip(b"\0") else None)


def _describe_text(start: bytes) -> str | None:
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    if re.match(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<!doctype html|<html|<head|<body", text, re.DOTALL):
        return "not an image: an HTML web page, perhaps an error message; download the image again"
    if b"<svg" in text:
        return f"an SVG drawing, which is not read; {_CONVERT}"
    if text.startswith(b"<?xml") or text.startswith(b"<error"):
        return "not an image: an XML text, perhaps an error message; download the image again"
    if re.match(rb'[{\[]\s*["{\[\]}]', text):
        return "not an image: a JSON text, perhaps an error message; download the image again"
    return None


def _brands(data: bytes) -> list[bytes]:
    """Return the brands of a file of the ISO base media format (HEIF, AVIF, MP4): the major one first."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[start : start + 4] for start in range(16, end, 4))]


def _describe_iso_media(data: bytes) -> str:
    brands = _brands(data)
    if is_heif(data):
        return "a damaged HEIC image; copy it again"
    if {*brands} & {*_AVIF_BRANDS, *_HEIF_CONTAINERS}:
        return f"a damaged AVIF image, or one of a kind that is not supported; copy it again, or {_CONVERT}"
    if brands[0] == b"crx ":
        return _CAMERA_RAW
    return "not an image: a video; save its frames as images"


def _describe_tiff(data: bytes) -> str | None:
    """Return what kind of TIFF a file is that is not supported; None if there is nothing unusual in its header."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2] + data[3] == 43 else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return _tiff_kind(tags, is_canon=data[8:10] == b"CR")
    except Exception:  # the tags of a damaged file may raise anything, and have any type
        return None


def _tiff_kind(tags: Mapping[int, Any], *, is_canon: bool) -> str | None:
    # Tags of one number for each channel: that of the first.
    bits, format_ = (
        value[0] if isinstance(value := tags.get(tag), tuple) else value for tag in (_BITS, _SAMPLE_FORMAT)
    )
    photometric = _PHOTOMETRICS.get(tags.get(_PHOTOMETRIC, 0))
    if is_canon or _DNG_VERSION in tags or photometric == "camera raw":
        return _CAMERA_RAW
    if (kind := _SAMPLE_FORMATS.get(format_ or 1)) or bits not in (1, 2, 4, 8, 16, None):
        numbers = kind or "numbers"
        return f"a TIFF image of {bits}-bit {numbers}, which is not read; convert it to 8 or 16 bits"
    compression = tags.get(_COMPRESSION, 1)
    if compression in _TIFF_COMPRESSIONS:
        name = f"{_TIFF_COMPRESSIONS[compression]} compression"
        return f"a TIFF image with {name}, which is not read; save it with LZW compression, or {_CONVERT}"
    if photometric:
        return f"a {photometric} TIFF image of a kind that is not read; {_CONVERT}"
    if (samples := tags.get(_SAMPLES, 1)) > 4:
        return f"a TIFF image with {samples} channels, which is not read; {_CONVERT} with 3 channels"
    return None


def _is_ours(error: Exception) -> bool:
    """Return whether this program raised an error, with a message for the user, and not a library."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = frames[-1].f_globals.get("__name__", "") if frames else ""
    is_text = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
    return is_text and any(name.startswith(_PROGRAM) for name in (raised_in, type(error).__module__))


def _damaged(error: Exception, data: bytes) -> str:
    """Return the reason of a file whose beginning looks right, or is unknown."""
    name = next((name for signature, name in _KNOWN_IMAGES if data.startswith(signature)), "")
    if not name:
        return UNKNOWN if isinstance(error, UnidentifiedImageError) or not str(error) else _library_text(error)
    text = _library_text(error)
    if re.search(r"truncated|not enough|too short|end of file|EOF|unpack requires|expected \d+ bytes", text, re.I):
        return f"a truncated {name} file: its end is missing; copy it again"
    details = "" if _says_nothing(error, text) else f" ({text})"
    return f"a damaged {name} file{details}; copy it again, or {_CONVERT}"


def _says_nothing(error: Exception, text: str) -> bool:
    """Return whether the text of a library is of no use to its users."""
    is_internal = isinstance(error, (UnidentifiedImageError, struct.error, zlib.error, KeyError, IndexError, TypeError))
    return is_internal or not text or bool(re.search(r"decoder error|codec|-\d+$|object at 0x|tile ", text))


def _library_text(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_LIBRARY_TEXT] or type(error).__name__


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOi" else "a"
