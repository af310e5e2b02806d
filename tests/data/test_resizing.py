"""Resizing: antialiased and without a shift."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from transfer_cli.data.resizing import crop, pad, resize_to, squash

SHAPES = [(500, 375), (640, 480), (300, 900), (1155, 866), (224, 224), (230, 220), (449, 111), (60, 40), (1, 1)]


@pytest.fixture(scope="module")
def photograph(shared: Path) -> Image.Image:
    path = sorted((shared / "data/clothing/train").rglob("*.jpg"))[0]
    return Image.open(path).convert("RGB")


def difference(one: NDArray[np.uint8], other: Image.Image) -> float:
    return float(np.abs(one.astype(float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_resize_to_is_as_antialiased_as_pillow(photograph: Image.Image, shape: tuple[int, int]) -> None:
    """The result lies between a box and a triangle filter, which differ by two to three grey levels."""
    source = photograph.resize(shape, Image.Resampling.BICUBIC)
    ours = resize_to(np.asarray(source), 224, 224)
    assert ours.shape == (224, 224, 3)
    filters = (Image.Resampling.BOX, Image.Resampling.BILINEAR)
    assert min(difference(ours, source.resize((224, 224), filter)) for filter in filters) < 1.5


def test_comparison_with_pillow_detects_swapped_axes_and_channels(photograph: Image.Image) -> None:
    """Planted faults for the comparison above."""
    expected = photograph.resize((224, 224), Image.Resampling.BILINEAR)
    ours = resize_to(np.asarray(photograph), 224, 224)
    assert difference(ours[..., ::-1], expected) > 3
    assert difference(ours.transpose(1, 0, 2), expected) > 3
    assert difference(np.roll(ours, 2, axis=1), expected) > 3


@pytest.mark.parametrize("side", [96, 160, 333, 1000])
def test_resize_to_fine_pattern_becomes_grey(side: int) -> None:
    rows, columns = np.indices((side, side))
    checkers = np.repeat((255 * ((rows + columns) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    assert np.abs(resize_to(checkers, 48, 48).astype(float) - 127.5).max() < 80
    # Planted fault: nearest-neighbour sampling.
    assert np.abs(cv2.resize(checkers, (48, 48), interpolation=cv2.INTER_NEAREST).astype(float) - 127.5).min() > 120


def test_resize_to_single_colour_is_unchanged() -> None:
    for shape in ((7, 900, 3), (900, 7, 3), (31, 33, 3), (2000, 1500, 3)):
        assert (resize_to(np.full(shape, (3, 140, 255), np.uint8), 64, 64) == (3, 140, 255)).all()


def test_squash_crop_and_pad() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255
    assert squash(wide, 60)[30].mean(axis=1).round().tolist()[:18] == [0] * 18
    assert (crop(wide, 60) == 255).all()
    padded = pad(wide, 60)
    assert padded.shape == (60, 60, 3)
    assert not padded[:20].any()
    assert not padded[40:].any()
    assert (padded[20:40, 22:38] == 255).all()
    assert pad(wide[:1], 60).shape == crop(wide[:1], 60).shape == (60, 60, 3)
