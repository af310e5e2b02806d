"""Decoding of one image file."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from transfer_cli.data import decoding
from transfer_cli.data.decoding import decode
from transfer_cli.data.resizing import resize_to
from transfer_cli.data.views import View

SIDE = 64


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)  # type: ignore[arg-type]
    return target.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Return an image whose left half is black and whose right half is white."""
    image = Image.new("L", (80, 40), 0)
    image.paste(255, (40, 0, 80, 40))
    return image.convert(mode)


def check_halves(pixels: np.ndarray, tolerance: int = 12) -> None:
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert int(pixels[:, : SIDE // 2 - 4].max()) <= tolerance
    assert int(pixels[:, SIDE // 2 + 4 :].min()) >= 255 - tolerance


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
        ("P", "GIF"),
        ("RGB", "TIFF"),
        ("CMYK", "TIFF"),
        ("LAB", "TIFF"),
        ("RGB", "WEBP"),
        ("RGBA", "WEBP"),
    ],
)
def test_decode_every_mode_and_format_gives_the_same_image(mode: str, format: str) -> None:
    image = halves("RGB").convert("LAB") if mode == "LAB" else halves(mode)
    check_halves(decode(encoded(image, format), SIDE, "squash"))


def test_decode_mpo_gives_the_first_image() -> None:
    data = encoded(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (80, 40), "red")])
    check_halves(decode(data, SIDE, "squash"))


def test_decode_format_that_starts_other_programs_is_refused() -> None:
    with pytest.raises(UnidentifiedImageError):
        decode(encoded(halves(), "EPS"), SIDE, "squash")


def test_decode_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 80).astype(np.uint16), (40, 1))
    for format in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(ramp), format), 80, "squash")
        expected = np.linspace(0, 255, 80)
        assert np.abs(pixels[20, :, 0].astype(float) - expected).max() < 2


def test_decode_floating_point_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown range of values"):
        decode(encoded(Image.new("F", (40, 40), 0.5), "TIFF"), SIDE, "squash")


def test_decode_transparency_is_blended_with_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (decode(encoded(image, "PNG"), SIDE, "squash") == 255).all()
    palette = Image.new("P", (40, 40), 3)
    assert (decode(encoded(palette, "GIF", transparency=3), SIDE, "squash") == 255).all()


def test_decode_animation_gives_the_first_frame() -> None:
    frames = [halves(), Image.new("RGB", (80, 40), "red")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    check_halves(decode(data, SIDE, "squash"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_exif_orientation(orientation: int) -> None:
    upright = np.asarray(halves())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif, quality=95)
    check_halves(decode(data, SIDE, "squash"))


def test_decode_broken_exif_block_is_ignored() -> None:
    data = encoded(halves(), "JPEG")
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 20
    segment = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    check_halves(decode(data[:2] + segment + data[2:], SIDE, "squash"))


def test_decode_jpeg_draft_scale_changes_little() -> None:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (60, 80, 3), np.uint8)).resize(
        (1600, 1200), Image.Resampling.BICUBIC
    )
    data = encoded(coarse, "JPEG", quality=95)
    full = resize_to(np.asarray(coarse), SIDE, SIDE)
    difference = np.abs(decode(data, SIDE, "squash").astype(float) - full)
    assert difference.mean() < 2


def test_decode_applies_each_resize_method() -> None:
    wide = Image.new("RGB", (120, 40), "white")
    wide.paste((0, 0, 0), (0, 0, 40, 40))
    data = encoded(wide, "PNG")
    squashed = decode(data, 60, "squash")
    assert squashed[30, 10].tolist() == [0, 0, 0]
    assert squashed[30, 50].tolist() == [255, 255, 255]
    assert (decode(data, 60, "crop") == 255).mean() > 0.95
    padded = decode(data, 60, "pad")
    assert padded[5, 50].tolist() == [0, 0, 0]
    assert padded[30, 50].tolist() == [255, 255, 255]


def test_decode_views_of_one_scale_share_one_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    upright = decoding._upright_rgb
    monkeypatch.setattr(
        decoding, "_upright_rgb", lambda image, *others: decoded.append(image.size) or upright(image, *others)
    )
    data = encoded(Image.new("RGB", (1600, 1200)), "JPEG")
    decoding.decode_views(data, (View(96, "crop"), View(100, "squash"), View(400, "crop"), View(64, "pad")))
    assert decoded == [(200, 150), (800, 600)]
