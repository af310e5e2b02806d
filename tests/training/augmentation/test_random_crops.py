"""Random crops show a part of the image: of the right size, at a random place, in its proportions or others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.random_crops import RandomCrop

SIDE = 64
# Red is the column, green the row: each pixel tells where in the image it was.
PLACES = np.stack([*np.meshgrid(3 * np.arange(SIDE), 3 * np.arange(SIDE)), np.zeros((SIDE, SIDE))], -1).astype(np.uint8)


def boxes(count: int = 300, image: NDArray[np.uint8] = PLACES, **settings: Any) -> NDArray[np.float64]:
    """Return left, top, width and height of some crops, read from their pixels, in pixels."""
    crop = RandomCrop(Augmentation(**settings))
    found = []
    for seed in range(count):
        result = crop(image, np.random.default_rng(seed))
        assert result.dtype == np.uint8
        assert result.shape == image.shape
        ends = result[[0, -1], [0, -1], :2].astype(float) / 3
        found.append([*ends[0], *(ends[1] - ends[0] + 1)])
    return np.array(found)


def test_random_crop_cuts_its_share_off_each_side() -> None:
    found = boxes(random_crop=0.125)
    assert np.abs(found[:, 2:] - 56).max() < 0.5
    for start in found[:, :2].T:
        assert {*np.rint(start).astype(int)} == set(range(9))
    assert np.abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 0.2


def test_random_resized_crop_has_uniform_areas_and_ratios_within_the_limits() -> None:
    found = boxes(1000, random_resized_crop=(0.25, 0.7), crop_ratio=(0.75, 1.3333))
    width, height = found[:, 2:].T
    areas, ratios = width * height / SIDE**2, width / height
    assert 0.24 < areas.min() < 0.27
    assert 0.67 < areas.max() < 0.72
    assert areas.mean() == pytest.approx(0.475, abs=0.015)
    assert 0.73 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.37
    assert np.log(ratios).mean() == pytest.approx(0, abs=0.02)
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= SIDE + 0.5).all()


def test_random_resized_crop_of_the_whole_area_is_the_image() -> None:
    crop = RandomCrop(Augmentation(random_resized_crop=(1, 1)))
    assert np.array_equal(crop(PLACES, np.random.default_rng(3)), PLACES)


def test_random_crop_without_settings_is_off() -> None:
    assert RandomCrop(Augmentation(rotation_range=3)).is_off
    assert not RandomCrop(Augmentation(random_crop=0.1)).is_off
    assert not RandomCrop(Augmentation(random_resized_crop=(0.5, 1))).is_off


def test_crop_that_is_always_central_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a crop without a random place."""

    class Central:
        def __init__(self, seed: int) -> None:
            pass

        def integers(self, high: int) -> int:
            return high // 2

    monkeypatch.setattr(np.random, "default_rng", Central)
    assert np.ptp(boxes(20, random_crop=0.125)[:, :2]) < 0.5
