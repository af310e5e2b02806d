"""The augmentation draws the parameters of ImageDataGenerator and returns its images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation import image_data_generator
from transfer_cli.training.augmentation.augmenter import Augmenter
from transfer_cli.training.augmentation.image_data_generator import Generator

KerasGenerator = tf.keras.preprocessing.image.ImageDataGenerator
FILL_MODES = ("nearest", "constant", "reflect", "wrap")
RANGES: dict[str, dict[str, Any]] = {
    "rotation": {"rotation_range": 40},
    "width shift": {"width_shift_range": 0.2},
    "height shift": {"height_shift_range": 0.2},
    "shift in pixels": {"width_shift_range": 9, "height_shift_range": 7.5},
    "shifts to choose from": {"width_shift_range": [3, 7.5], "height_shift_range": [0.1, 0.25]},
    "shear": {"shear_range": 20},
    "zoom": {"zoom_range": 0.3},
    "zoom of its own": {"zoom_range": [0.5, 0.8]},
    "channel shift": {"channel_shift_range": 9},
    "brightness": {"brightness_range": [0.5, 1.4]},
    "flips": {"horizontal_flip": True, "vertical_flip": True},
    "all": {
        "rotation_range": 40,
        "width_shift_range": 0.2,
        "height_shift_range": 0.2,
        "shear_range": 0.2,
        "zoom_range": 0.2,
        "channel_shift_range": 9,
        "brightness_range": [0.8, 1.2],
        "horizontal_flip": True,
    },
}


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """Return an image with edges, gradients and a little noise."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:96, 0:96]
    layers = [127 + 100 * np.sin(x / 7), 255 * y / 95, 200.0 * ((x // 12 + y // 12) % 2)]
    return np.clip(np.stack(layers, -1) + random.normal(0, 6, (96, 96, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_get_random_transform_equals_keras(ranges: dict[str, Any]) -> None:
    ours, theirs = (kind(**ranges) for kind in (Generator, KerasGenerator))
    for seed in range(20):
        assert ours.get_random_transform((96, 64, 3), seed) == theirs.get_random_transform((96, 64, 3), seed)


def test_get_random_transform_leaves_numpy_random_state() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    Generator(rotation_range=3).get_random_transform((9, 9, 3), 1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


def largest_difference(image: NDArray[np.uint8], fill_mode: str, ranges: dict[str, Any]) -> float:
    """Return the largest mean difference to ImageDataGenerator's images, in grey levels, over some draws."""
    arguments = Augmentation(fill_mode=fill_mode, cval=90.0, **ranges).generator_arguments()
    ours, theirs = (kind(**arguments, dtype="float32") for kind in (Generator, KerasGenerator))
    differences = []
    for seed in range(6):
        parameters = theirs.get_random_transform(image.shape, seed)
        expected = theirs.apply_transform(image.astype(np.float32), parameters)
        result = ours.apply_transform(image, parameters)
        assert result.dtype == np.float32
        differences.append(np.abs(result - expected).mean())
    return float(max(differences))


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_apply_transform_equals_keras(image: NDArray[np.uint8], fill_mode: str, ranges: dict[str, Any]) -> None:
    assert largest_difference(image, fill_mode, ranges) < 0.01


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize(
    ("fill_mode", "border"),
    [("constant", cv2.BORDER_CONSTANT), ("wrap", cv2.BORDER_WRAP), ("reflect", cv2.BORDER_REFLECT_101)],
)
def test_apply_transform_another_border_is_detected(
    image: NDArray[np.uint8], fill_mode: str, border: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warp(image: Any, matrix: Any, fill_mode: str, cval: float) -> Any:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            image, matrix[:2], image.shape[1::-1], flags=flags, borderMode=border, borderValue=(cval,) * 3
        )

    monkeypatch.setattr(image_data_generator, "_warp", warp)
    assert largest_difference(image, fill_mode, RANGES["all"]) > 0.1


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
def test_apply_transform_swapped_axes_are_detected(image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    straight = image_data_generator._matrix

    def swapped(*arguments: Any) -> Any:
        matrix = straight(*arguments)
        return None if matrix is None else matrix[[1, 0, 2]][:, [1, 0, 2]]

    monkeypatch.setattr(image_data_generator, "_matrix", swapped)
    assert largest_difference(image, "nearest", RANGES["width shift"]) > 1


def test_augmenter_without_settings_returns_the_image(image: NDArray[np.uint8]) -> None:
    assert Augmentation(fill_mode="wrap").is_off
    assert Augmenter(Augmentation(), 1)(image, 1, 1) is image


def test_augmenter_returns_uint8(image: NDArray[np.uint8]) -> None:
    result = Augmenter(Augmentation(**RANGES["all"]), 0)(image, 1, 1)
    assert result.dtype == np.uint8
    assert result.shape == image.shape
