"""Pictures and the truth that goes with them, blended and laid into each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.augmented_images import AugmentedImages

SIDE, COUNT = 32, 6
TRUTH = np.array([0, 0, 1, 1, 2, 2])
# Each picture is of one grey of its own, so that a mixture says what it is made of.
IMAGES = np.repeat(40 * np.arange(COUNT, dtype=np.uint8), SIDE * SIDE * 3).reshape(COUNT, SIDE, SIDE, 3)


def shown(seed: int = 0, **words: Any) -> AugmentedImages:
    return AugmentedImages(
        Augmentation(**words), seed, IMAGES, 10 + np.arange(COUNT), TRUTH, np.arange(COUNT), classes=3
    )


def one(of: AugmentedImages, row: int, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return of(row, epoch), of.targets(np.array([row]), np.array([epoch]))[0]


def test_nothing_is_mixed_unless_it_is_asked_for() -> None:
    image, target = one(shown(), 3, 1)
    assert image is not None
    assert np.array_equal(image, IMAGES[3])
    assert target.tolist() == [0, 1, 0]


@pytest.mark.parametrize("words", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_the_truth_is_shared_as_the_picture_is(words: dict[str, float]) -> None:
    of = shown(**words)
    shares = []
    for row in range(COUNT):
        for epoch in range(1, 20):
            image, target = one(of, row, epoch)
            assert target.sum() == pytest.approx(1)
            greys, counts = np.unique(image, return_counts=True)
            if len(greys) == 2:  # laid in
                made = {int(grey) // 40: count / image.size for grey, count in zip(greys, counts, strict=True)}
                expected = np.zeros(3)
                for other, share in made.items():
                    expected[TRUTH[other]] += share
                np.testing.assert_allclose(target, expected, atol=1e-6)
            elif greys[0] not in IMAGES[:, 0, 0, 0]:  # blended: the grey lies between two of them by the share
                share = target[TRUTH[row]]
                others = [other for other in range(COUNT) if target[TRUTH[other]] > 0 and other != row]
                blends = [share * 40 * row + (1 - share) * 40 * other for other in others]
                same = [40 * row, 40 * (row ^ 1)]  # of one class the share cannot be told from the truth
                assert min(abs(int(greys[0]) - blend) for blend in blends) <= 1 or min(same) <= greys[0] <= max(same)
            shares.append(float(target[TRUTH[row]]))
    assert len(set(shares)) > 20
    assert min(shares) < 0.5 < max(shares)


def test_what_is_shown_depends_on_seed_epoch_and_index_alone() -> None:
    words = {"cutmix": 1.0, "mixup": 0.4, "rotation_range": 20}

    def all_of(epoch: int, seed: int = 0) -> bytes:
        of, rows = shown(seed=seed, **words), np.arange(COUNT)
        targets = of.targets(rows, np.full(COUNT, epoch))
        return np.stack([of(int(row), epoch) for row in rows]).tobytes() + targets.tobytes()

    assert all_of(5) == all_of(5)
    assert len({all_of(5), all_of(6), all_of(5, seed=1)}) == 3
    # Whatever the others are: each picture of a batch for itself.
    targets = shown(**words).targets(np.array([4, 2]), np.array([9, 5]))
    np.testing.assert_array_equal(targets[1], one(shown(**words), 2, 5)[1])


def test_a_truth_that_does_not_follow_the_picture_is_found_out() -> None:
    """The twin: the truth of another epoch."""
    of = shown(cutmix=1.0)
    rows, epochs = np.arange(COUNT), np.full(COUNT, 3)
    assert not np.allclose(of.targets(rows, epochs), of.targets(rows, epochs + 1))
