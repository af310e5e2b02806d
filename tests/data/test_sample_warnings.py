"""Warnings before training about 16-bit samples with unused bits, and about pages that are not read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from transfer_cli.data import sample_warnings as module
from transfer_cli.data.sample_warnings import sample_warnings


def grey(bits: int, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).integers(0, 2**bits, (24, 24)).astype(np.uint16)
    samples[0, 0] = 2**bits - 1
    return samples


def save(folder: Path, name: str, samples: np.ndarray, **options: object) -> str:
    if name.endswith(".png"):
        Image.fromarray(samples).save(folder / name)
    else:
        tifffile.imwrite(folder / name, samples, **options)  # type: ignore[arg-type]
    return name


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize(("bits", "advised"), [(7, 8), (8, 8), (10, 10), (12, 12), (14, 14)])
def test_sample_warnings_of_unused_bits_name_the_bit_depth(
    suffix: str, bits: int, advised: int, tmp_path: Path
) -> None:
    paths = [save(tmp_path, f"{index}{suffix}", grey(bits, index)) for index in range(3)]
    (line,) = sample_warnings(tmp_path, [*paths, "missing.png"])
    assert line.startswith(f"all 3 examined images with 16 bits per sample use at most the lowest {advised} bits")
    assert line.endswith(f"--bit-depth {advised}")
    assert sample_warnings(tmp_path, paths, bit_depth=advised) == []


def test_sample_warnings_of_colours_and_32_bits(tmp_path: Path) -> None:
    colours = np.stack([grey(12, seed) for seed in range(3)], -1)
    for name, samples, options in (
        ("colours.tif", colours, {"photometric": "rgb"}),
        ("planes.tif", np.moveaxis(colours, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        ("deep.tif", grey(12).astype(np.uint32), {}),
        ("signed.tif", grey(12).astype(np.int16), {}),
    ):
        (line,) = sample_warnings(tmp_path, [save(tmp_path, name, samples, **options)])
        assert f"uses at most the lowest 12 bits and will look nearly black to the network (e.g. {name})" in line


@pytest.mark.parametrize("bits", [15, 16])
def test_sample_warnings_one_image_with_all_bits_ends_the_search(bits: int, tmp_path: Path) -> None:
    paths = [save(tmp_path, f"{index}.png", grey(12)) for index in range(3)]
    assert sample_warnings(tmp_path, [*paths, save(tmp_path, "bright.png", grey(bits))]) == []


def test_sample_warnings_ordinary_and_declared_depths_give_none(tmp_path: Path) -> None:
    paths = [
        save(tmp_path, "eight.png", grey(7).astype(np.uint8)),
        save(tmp_path, "declared.tif", grey(12), bitspersample=12),
        save(tmp_path, "white.tif", grey(12), extratags=[(341, "H", 1, 4095, True)]),
        save(tmp_path, "black.png", np.zeros((8, 8), np.uint16)),
    ]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    assert sample_warnings(tmp_path, [*paths, "a.jpg", "broken.tif"]) == []


def test_sample_warnings_bit_depth_that_is_too_small_is_told(tmp_path: Path) -> None:
    path = save(tmp_path, "a.png", grey(12))
    (line,) = sample_warnings(tmp_path, [path], bit_depth=10)
    assert line.startswith("a.png uses 12 bits per sample, more than the bit depth 10")


def test_sample_warnings_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    assert sample_warnings(tmp_path, ["pipe.tif"]) == []


def test_sample_warnings_examines_a_bounded_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HEADERS", 10)
    monkeypatch.setattr(module, "_MAX_DECODED", 4)
    paths = [save(tmp_path, f"{index:02}.png", grey(12)) for index in range(25)]
    (line,) = sample_warnings(tmp_path, paths)
    assert line.startswith("all 3 examined images")


@pytest.mark.parametrize(
    "pages",
    [np.zeros((3, 16, 16), np.uint8), np.zeros((2, 16, 16, 3), np.uint8), np.zeros((4, 16, 16), np.uint16)],
    ids=["channels", "colour pages", "16-bit slices"],
)
def test_sample_warnings_pages_are_told(pages: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb" if pages.ndim == 4 else "minisblack")
    (line,) = sample_warnings(tmp_path, ["a.tif"])
    assert line.startswith("1 TIFF file has several pages, and only the first page is read (e.g. a.tif)")


def test_sample_warnings_one_page_with_a_preview_gives_none(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((32, 32), np.uint8))
        file.write(np.zeros((8, 8), np.uint8), subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(np.zeros((32, 32), np.uint8))
        file.write(np.zeros((32, 32), np.uint8), subfiletype=1)
    assert sample_warnings(tmp_path, ["a.tif", "b.tif"]) == []
