"""MixUp and CutMix: images and their targets are mixed by the same shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.augmented_images import AugmentedImages

SIDE, COUNT = 32, 6
TRUTH = np.array([0, 0, 1, 1, 2, 2])
# Each image has one grey level of its own, so that a mixture shows its parts.
IMAGES = np.repeat(40 * np.arange(COUNT, dtype=np.uint8), SIDE * SIDE * 3).reshape(COUNT, SIDE, SIDE, 3)


def augmented_images(seed: int = 0, **settings: Any) -> AugmentedImages:
    return AugmentedImages(
        Augmentation(**settings), seed, IMAGES, 10 + np.arange(COUNT), TRUTH, np.arange(COUNT), classes=3
    )


def image_and_target(augmented: AugmentedImages, row: int, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return augmented(row, epoch), augmented.targets(np.array([row]), np.array([epoch]))[0]


def test_augmented_images_default_mixes_nothing() -> None:
    image, target = image_and_target(augmented_images(), 3, 1)
    assert image is not None
    assert np.array_equal(image, IMAGES[3])
    assert target.tolist() == [0, 1, 0]


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_targets_have_the_shares_of_the_image(settings: dict[str, float]) -> None:
    augmented = augmented_images(**settings)
    shares = []
    for row in range(COUNT):
        for epoch in range(1, 20):
            image, target = image_and_target(augmented, row, epoch)
            assert target.sum() == pytest.approx(1)
            greys, counts = np.unique(image, return_counts=True)
            if len(greys) == 2:  # CutMix
                parts = {int(grey) // 40: count / image.size for grey, count in zip(greys, counts, strict=True)}
                expected = np.zeros(3)
                for other, share in parts.items():
                    expected[TRUTH[other]] += share
                np.testing.assert_allclose(target, expected, atol=1e-6)
            elif greys[0] not in IMAGES[:, 0, 0, 0]:  # MixUp: the grey level is between two of them
                share = target[TRUTH[row]]
                others = [other for other in range(COUNT) if target[TRUTH[other]] > 0 and other != row]
                blends = [share * 40 * row + (1 - share) * 40 * other for other in others]
                same = [40 * row, 40 * (row ^ 1)]  # within a class the target does not tell the share
                assert min(abs(int(greys[0]) - blend) for blend in blends) <= 1 or min(same) <= greys[0] <= max(same)
            shares.append(float(target[TRUTH[row]]))
    assert len(set(shares)) > 20
    assert min(shares) < 0.5 < max(shares)


def test_augmented_images_depend_on_seed_epoch_and_index_alone() -> None:
    settings = {"cutmix": 1.0, "mixup": 0.4, "rotation_range": 20}

    def all_of(epoch: int, seed: int = 0) -> bytes:
        augmented, rows = augmented_images(seed=seed, **settings), np.arange(COUNT)
        targets = augmented.targets(rows, np.full(COUNT, epoch))
        return np.stack([augmented(int(row), epoch) for row in rows]).tobytes() + targets.tobytes()

    assert all_of(5) == all_of(5)
    assert len({all_of(5), all_of(6), all_of(5, seed=1)}) == 3
    # The other images of a batch do not matter.
    targets = augmented_images(**settings).targets(np.array([4, 2]), np.array([9, 5]))
    np.testing.assert_array_equal(targets[1], image_and_target(augmented_images(**settings), 2, 5)[1])


def test_targets_of_another_epoch_differ() -> None:
    """The planted fault: targets that do not belong to the image."""
    augmented = augmented_images(cutmix=1.0)
    rows, epochs = np.arange(COUNT), np.full(COUNT, 3)
    assert not np.allclose(augmented.targets(rows, epochs), augmented.targets(rows, epochs + 1))
