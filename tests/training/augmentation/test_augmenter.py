"""The steps of an augmentation are drawn from (seed, epoch, index) alone, each from a random stream of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation import augmenter
from transfer_cli.training.augmentation.augmenter import Augmenter

SMOOTH = np.stack(
    [*np.meshgrid(np.linspace(40, 210, 64), np.linspace(60, 180, 64)), np.full((64, 64), 120.0)], axis=-1
).astype(np.uint8)
WORDS: dict[str, dict[str, Any]] = {
    "random_crop": {"random_crop": 0.125},
    "random_resized_crop": {"random_resized_crop": (0.3, 1)},
    "hue": {"hue": 0.1},
    "saturation": {"saturation": 0.5},
}
GENERATOR: dict[str, Any] = {"rotation_range": 20, "zoom_range": 0.2, "horizontal_flip": True}
ALL: dict[str, Any] = {
    **GENERATOR,
    "random_resized_crop": (0.3, 1),
    "hue": 0.1,
    "saturation": 0.5,
    "pca_colour": 0.1,
    "random_erasing": 0.3,
}


def images_of(settings: dict[str, Any], seed: int = 3) -> list[NDArray[np.uint8]]:
    augment = Augmenter(Augmentation(**settings), seed)
    return [augment(SMOOTH, epoch, index) for epoch in (1, 2) for index in range(10)]


@pytest.mark.parametrize("settings", [*WORDS.values(), ALL], ids=[*WORDS, "all"])
def test_augmenter_depends_on_seed_epoch_and_index_alone(settings: dict[str, Any]) -> None:
    jobs = [(epoch, index) for epoch in (1, 2) for index in range(10)]
    alone = images_of(settings)
    with ThreadPoolExecutor(8) as pool:
        other = Augmenter(Augmentation(**settings), 3)
        parallel = list(pool.map(lambda job: other(SMOOTH, *job), reversed(jobs)))[::-1]
    np.testing.assert_array_equal(alone, parallel)
    assert all(image.dtype == np.uint8 and image.shape == SMOOTH.shape for image in alone)
    # A crop of whole pixels has 9 x 9 places here, so that two of 20 may be the same.
    assert len({image.tobytes() for image in alone}) >= len(jobs) - 4
    assert not np.array_equal(images_of(settings, seed=4), alone)


def moves(settings: dict[str, Any]) -> bool:
    """Return whether a crop changes what is drawn for the other words: the middle of a flat image tells its colour."""
    flat = np.full((32, 32, 3), (200, 120, 60), np.uint8)
    pair = [Augmentation(**settings), Augmentation(**settings, random_crop=0.2)]
    plain, cropped = ([Augmenter(each, 5)(flat, epoch, 7) for epoch in range(8)] for each in pair)
    return not np.array_equal(plain, cropped)


def test_augmenter_new_words_leave_the_draws_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = {"hue": 0.2, "saturation": 0.5, "pca_colour": 0.3, "channel_shift_range": 30}
    assert not moves(colours)
    shared = np.random.default_rng(1)
    monkeypatch.setattr(augmenter.np.random, "default_rng", lambda seed: shared)  # the planted fault: one stream
    assert moves(colours)


def test_augmenter_crops_before_it_rotates() -> None:
    """Corners that a rotation fills are black: no crop cuts them off."""
    settings = {"rotation_range": 40, "fill_mode": "constant", "random_crop": 0.5}
    augment = Augmenter(Augmentation(**settings), 1)
    white = np.full((64, 64, 3), 255, np.uint8)
    assert sum((augment(white, 1, index)[0, 0] == 0).all() for index in range(20)) > 15


def test_augmenter_leaves_grey_images_grey() -> None:
    grey = np.repeat(SMOOTH[..., :1], 3, axis=2)
    settings = {**GENERATOR, **WORDS["random_crop"], **WORDS["hue"], **WORDS["saturation"]}
    for index in range(10):
        image = Augmenter(Augmentation(**settings), 1)(grey, 1, index)
        assert np.ptp(image, axis=2).max() == 0
