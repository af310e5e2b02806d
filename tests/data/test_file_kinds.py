"""The reason why a file is not read says what the file is and what to do; nothing of a library is passed on."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from transfer_cli.data import decoding, file_kinds
from transfer_cli.data.decoding import decode, decode_to_fit


def encoded(format: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or gradient()).save(file, format, **options)
    return file.getvalue()


def gradient(side: int = 40) -> Image.Image:
    y, x = np.mgrid[:side, :side]
    return Image.fromarray(np.stack([x * 6, y * 6, x + y], -1).astype(np.uint8))


def tiff(width: int = 8, height: int = 8, **tags: tuple[int, ...]) -> bytes:
    """Return a little-endian TIFF of zeros; `tags` are further short numbers, by tag."""
    short = {256: (width,), 257: (height,), 258: (8,), 259: (1,), 262: (1,), 273: (0,), 277: (1,), 278: (height,)}
    short |= {279: (width * height,)} | {int(name[1:]): value for name, value in tags.items()}
    count, extra = len(short), b""
    place = 8 + 2 + 12 * count + 4
    entries = b""
    for tag, values in sorted(short.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack("<I", place + len(extra))
        entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4) + extra + bytes(4096)


def iso_media(major: bytes, *others: bytes) -> bytes:
    brands = b"".join(others)
    return struct.pack(">I", 16 + len(brands)) + b"ftyp" + major + bytes(4) + brands + bytes(500)


def reason_of(data: bytes, folder: Path) -> str:
    path = folder / "image.jpg"
    path.write_bytes(data)
    outcome = decode_to_fit(path, 32)
    assert isinstance(outcome, str), "it was read"
    return outcome


KINDS = {
    "JPEG 2000": (encoded("JPEG2000"), "JPEG 2000 image", "convert it"),
    "JPEG 2000 codestream": (b"\xff\x4f\xff\x51" + bytes(90), "JPEG 2000 image", "convert it"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), "JPEG XL image", "convert it"),
    "JPEG XR": (b"II\xbc\x01" + bytes(90), "JPEG XR image", "convert it"),
    "Photoshop": (b"8BPS\0\x01" + bytes(90), "Photoshop", "convert it"),
    "Netpbm": (encoded("PPM"), "Netpbm", "convert it"),
    "DICOM": (bytes(128) + b"DICM" + bytes(90), "DICOM", "convert it"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "convert it"),
    "Canon raw 3": (iso_media(b"crx ", b"crx ", b"isom"), "camera raw", "convert it"),
    "Fujifilm raw": (b"FUJIFILMCCD-RAW 0201" + bytes(90), "camera raw", "convert it"),
    "movie": (iso_media(b"qt  ", b"qt  "), "a video", "save its frames"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST" + bytes(90), "a video", "save its frames"),
    "HTML": (b"\n<html lang=en><body>Please sign in</body></html>", "HTML web page", "download the image again"),
    "HTML in UTF-16": ("<!DOCTYPE html><p>no</p>".encode("utf-16"), "HTML web page", "download the image again"),
    "XML error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML", "download the image again"),
    "JSON error": (b'{"error": "not found"}', "JSON", "download the image again"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer", "git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s1--0.jpg\n", "git-annex pointer", "git annex get"),
    "PDF": (b"%PDF-1.7\n" + bytes(90), "PDF", "export its pages"),
    "zip": (b"PK\x03\x04" + bytes(90), "zip archive", "unpack it"),
    "shortcut": (b"L\0\0\0\x01\x14\x02\0" + bytes(90), "shortcut", "use the image"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(90), "macOS", "use the image itself"),
    "zeros": (bytes(5000), "zeros", "not an image"),
    "TIFF of floats": (tiff(_258=(32, 32, 32), _262=(2,), _277=(3,), _339=(3, 3, 3)), "floating-point", "8 or 16 bits"),
    "TIFF of complex numbers": (tiff(_258=(64,), _339=(6,)), "complex numbers", "8 or 16 bits"),
    "TIFF with WebP": (tiff(_259=(50001,)), "WebP compression", "LZW"),
    "TIFF with JPEG 2000": (tiff(_259=(34712,)), "JPEG 2000 compression", "LZW"),
    "TIFF of a sensor": (tiff(_262=(32803,)), "camera raw", "convert it"),
    "truncated JPEG": (encoded("JPEG")[:400], "truncated JPEG file", "copy it again"),
    "truncated WebP": (encoded("WEBP")[:60], "WebP file", "copy it again"),
    "damaged GIF": (b"GIF89a" + bytes(3), "GIF file", "copy it again"),
}


@pytest.mark.parametrize("name", KINDS)
def test_reason_says_what_the_file_is_and_what_to_do(name: str, tmp_path: Path) -> None:
    data, what, action = KINDS[name]
    reason = reason_of(data, tmp_path)
    assert what in reason
    assert action in reason
    assert not re.search(r"decoder error|object at 0x|bomb|codec|Errno|unpack requires|\n", reason), reason


def test_reason_of_unknown_bytes_guesses_nothing(tmp_path: Path) -> None:
    # The planted fault: not every file has a kind.
    for data in (b"this is no image", b"\x01\x02\x03\x04" * 50):
        assert reason_of(data, tmp_path) == file_kinds.UNKNOWN


def test_reason_keeps_the_text_of_this_program_and_of_the_system_only() -> None:
    def of(error: Exception) -> str:
        try:
            raise error
        except Exception as raised:
            return file_kinds.reason(raised, encoded("PNG"))

    assert "copy it again" in of(ValueError("buffer is not large enough"))
    assert "copy it again" in of(zlib.error("Error -3 while decompressing data"))
    assert of(OSError(24, "Too many open files")) == "Too many open files"
    assert "memory" in of(MemoryError())
    with pytest.raises(ValueError, match="convert it") as caught:
        file_kinds.refuse_camera_raw(with_thumbnail())
    assert file_kinds.reason(caught.value, encoded("PNG")) == str(caught.value)


def with_thumbnail(**changed: int) -> Image.Image:
    """Return an opened TIFF that says it is the thumbnail of another image in the file."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254], tags[330] = changed.get("kind", 1), 8
    return Image.open(io.BytesIO(encoded("TIFF", tiffinfo=tags)))


def test_refuse_camera_raw_reads_other_tiff_files() -> None:
    file_kinds.refuse_camera_raw(with_thumbnail(kind=0))
    file_kinds.refuse_camera_raw(gradient())
    with pytest.raises(ValueError, match="camera raw"):
        file_kinds.refuse_camera_raw(with_thumbnail())


def test_decode_avif_is_read() -> None:
    decoded = decode(encoded("AVIF", quality=100), 40, "squash")
    np.testing.assert_allclose(decoded.astype(int), np.asarray(gradient()).astype(int), atol=12)
    assert reason_of_avif_cut() is not None


def reason_of_avif_cut() -> str | None:
    return file_kinds.describe(encoded("AVIF")[:200])


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        ((b"heic", b"mif1", b"heic"), True),
        ((b"hevc", b"msf1"), True),
        ((b"mif1", b"mif1", b"heic"), True),
        ((b"avif", b"mif1"), False),
        ((b"mif1", b"avif", b"miaf"), False),
        ((b"isom", b"mp42"), False),
    ],
)
def test_is_heif_goes_by_the_brands(brands: tuple[bytes, ...], expected: bool) -> None:
    assert file_kinds.is_heif(iso_media(*brands)) is expected


def test_heic_without_its_package_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "find_spec", lambda name: None)
    monkeypatch.setattr(file_kinds, "register_heif", file_kinds.register_heif.__wrapped__)
    reason = reason_of(iso_media(b"heic", b"mif1"), tmp_path)
    assert reason == "a HEIC image; to read HEIC: pip install 'transfer-cli[heif]'"


def test_heic_with_its_package_is_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    turned = Image.Exif()
    turned[274] = 6
    for options in ({}, {"exif": turned.tobytes()}):
        expected = decode(encoded("PNG", **options), 40, "squash")
        got = decode(encoded("HEIF", quality=100, **options), 40, "squash")
        np.testing.assert_allclose(got.astype(int), expected.astype(int), atol=12)
    assert "HEIC" in reason_of(encoded("HEIF")[:300], tmp_path)


LIBTIFF = """
import io, sys
import numpy as np
from PIL import Image
from transfer_cli.data import decoding
if sys.argv[1] == "loud":
    decoding.silence_libtiff = lambda: None
for kind in ("group4", "tiff_lzw", "tiff_adobe_deflate"):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).convert("1" if kind == "group4" else "L").save(file, "TIFF", compression=kind)
    data = bytearray(file.getvalue())
    for place in range(300, len(data) // 2, 3):
        data[place] ^= 255
    try:
        decoding.decode(bytes(data), 32, "squash")
    except Exception as error:
        print(decoding.failure_reason(error, bytes(data)))
"""


@pytest.mark.parametrize("how", ["quiet", "loud"])
def test_damaged_tiff_prints_nothing_of_libtiff(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIBTIFF, how], capture_output=True, text=True, timeout=60, check=True)
    # The planted fault: libtiff writes to the terminal by itself.
    assert bool(done.stderr) is (how == "loud"), done.stderr
    assert "decoder error" not in done.stdout


def test_decoding_reads_no_format_that_starts_programs() -> None:
    assert not {"EPS", "PS", "WMF", "GBR"} & {*decoding._FORMATS}
