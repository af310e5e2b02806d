"""RandAugment, AlexNet's colour shift and random erasing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation import rand_augment
from transfer_cli.training.augmentation.augmenter import Augmenter
from transfer_cli.training.augmentation.rand_augment import Distortions

RAMP = np.stack(
    [*np.meshgrid(np.linspace(40, 210, 48), np.linspace(60, 180, 48)), np.full((48, 48), 120.0)], axis=-1
).astype(np.uint8)


def distorted(seed: int = 0, **settings: Any) -> NDArray[np.uint8]:
    return Distortions(Augmentation(**settings))(RAMP, np.random.default_rng(seed))


@pytest.mark.parametrize("settings", [{"randaugment": 0.4}, {"pca_colour": 0.3}, {"random_erasing": 1.0}])
def test_distortions_same_seed_gives_the_same_image(settings: dict[str, float]) -> None:
    images = [distorted(seed, **settings) for seed in range(8)]
    assert all(image.dtype == np.uint8 and image.shape == RAMP.shape for image in images)
    assert np.array_equal(images[0], distorted(0, **settings))
    assert len({image.tobytes() for image in images}) > 4


def test_distortions_default_is_off() -> None:
    assert Distortions(Augmentation()).are_off
    assert Augmenter(Augmentation(), 0)(RAMP, 1, 1) is RAMP


def test_distortions_leave_the_draws_of_the_generator() -> None:
    plain = Augmenter(Augmentation(rotation_range=20), 5)(RAMP, 3, 7)
    shifted = Augmenter(Augmentation(rotation_range=20, pca_colour=0.1), 5)(RAMP, 3, 7)
    difference = shifted.astype(int) - plain
    assert difference.any()
    assert np.ptp(difference[8:-8, 8:-8], axis=(0, 1)).max() <= 1


def test_pca_colour_shifts_all_pixels_along_the_eigenvectors() -> None:
    shifts = np.array([(distorted(seed, pca_colour=0.1).astype(int) - RAMP).mean(axis=(0, 1)) for seed in range(400)])
    # The largest eigenvalue, scaled to 0..1, is 0.2175; its eigenvector is nearly grey.
    assert shifts.std(axis=0) == pytest.approx(255 * 0.1 * 0.2175 * np.abs([0.5675, 0.5808, 0.5836]), rel=0.15)
    assert np.corrcoef(shifts.T).min() > 0.9
    assert np.abs(shifts.mean(axis=0)).max() < 0.6


def test_random_erasing_erases_a_rectangle_of_some_images() -> None:
    areas = []
    for seed in range(200):
        changed = (distorted(seed, random_erasing=0.5) != RAMP).any(axis=-1)
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert box.mean() > 0.95
            areas.append(box.size / changed.size)
    assert 70 < len(areas) < 130
    assert 0.01 < min(areas) < 0.1
    assert 0.25 < max(areas) < 0.45


@pytest.mark.parametrize("name", rand_augment._RANDAUGMENT)
def test_randaugment_each_transform_changes_the_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rand_augment, "_RANDAUGMENT", (name,))
    images = [distorted(seed, randaugment=0.2) for seed in range(6)]
    assert all(image.std() > 5 for image in images)
    assert any(np.abs(image.astype(int) - RAMP).mean() > 1 for image in images)
