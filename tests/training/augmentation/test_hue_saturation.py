"""Hue and saturation are shifted as by the standard library's colorsys; grey stays grey."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation import hue_saturation
from transfer_cli.training.augmentation.hue_saturation import HueSaturation, shift_hue

COLOURS = np.random.default_rng(4).integers(0, 256, (24, 24, 3), np.uint8)
GREYS = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


def expected(image: NDArray[np.uint8], shift: float, factor: float) -> NDArray[np.float64]:
    """Return the image by colorsys, in floating point."""

    def pixel(colour: NDArray[np.uint8]) -> tuple[float, float, float]:
        hue, saturation, value = colorsys.rgb_to_hsv(*colour / 255)
        return colorsys.hsv_to_rgb((hue + shift) % 1, min(1, saturation * factor), value)

    return 255 * np.array([[pixel(colour) for colour in row] for row in image])


def differences(shift: float, factor: float) -> NDArray[np.float64]:
    return np.abs(shift_hue(COLOURS, shift, factor) - expected(COLOURS, shift, factor))


SHIFTS = [(0, 1), (0.02, 1), (-0.02, 1), (0.3, 1), (-0.5, 1), (0, 0.4), (0, 1.7), (0.1, 1.2)]


@pytest.mark.parametrize(("shift", "factor"), SHIFTS)
def test_shift_hue_equals_colorsys(shift: float, factor: float) -> None:
    difference = differences(shift, factor)
    assert difference.mean() < 1
    assert difference.max() < 10


def test_shift_hue_the_other_way_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: blue and red are confused, as OpenCV's own order of channels has them."""
    monkeypatch.setattr(hue_saturation.cv2, "COLOR_RGB2HSV_FULL", hue_saturation.cv2.COLOR_BGR2HSV_FULL)
    monkeypatch.setattr(hue_saturation.cv2, "COLOR_HSV2RGB_FULL", hue_saturation.cv2.COLOR_HSV2BGR_FULL)
    assert differences(0.1, 1).mean() > 10


@pytest.mark.parametrize(("shift", "factor"), SHIFTS)
def test_shift_hue_leaves_grey_images(shift: float, factor: float) -> None:
    assert np.array_equal(shift_hue(GREYS, shift, factor), GREYS)


def test_shift_hue_factor_zero_makes_grey_and_keeps_the_value() -> None:
    grey = shift_hue(COLOURS, 0.2, 0)
    assert np.array_equal(grey, np.repeat(COLOURS.max(axis=2, keepdims=True), 3, axis=2))
    assert np.array_equal(shift_hue(COLOURS, 0.2, 1.3).max(axis=2), COLOURS.max(axis=2))


def drawn(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> NDArray[np.float64]:
    """Return the shift and the factor of some draws."""
    pairs: list[tuple[float, float]] = []
    monkeypatch.setattr(hue_saturation, "shift_hue", lambda image, *pair: pairs.append(pair))
    colours = HueSaturation(Augmentation(**settings))
    for seed in range(300):
        colours(COLOURS, np.random.default_rng(seed))
    return np.array(pairs)


@pytest.mark.parametrize(
    ("settings", "shifts", "factors"),
    [
        ({"hue": 0.1}, (-0.1, 0.1), (1, 1)),
        ({"saturation": 0.4}, (0, 0), (0.6, 1.4)),
        ({"saturation": (0, 0.5), "hue": 0.02}, (-0.02, 0.02), (0, 0.5)),
    ],
)
def test_hue_saturation_draws_within_the_limits(
    settings: dict[str, Any], shifts: tuple[float, float], factors: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = drawn(monkeypatch, **settings)
    for column, (low, high) in zip(values.T, (shifts, factors), strict=True):
        assert low <= column.min() <= low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) <= column.max() <= high


def test_hue_saturation_without_settings_is_off() -> None:
    assert HueSaturation(Augmentation(random_crop=0.1)).are_off
    assert not HueSaturation(Augmentation(hue=0.1)).are_off
    assert not HueSaturation(Augmentation(saturation=0.1)).are_off
