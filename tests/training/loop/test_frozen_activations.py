"""What is kept of the frozen layers is what they make of the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import TINY, TINY_SIZE
from transfer_cli.catalog.backbones import find
from transfer_cli.data.decoding import batches
from transfer_cli.io.array_store import Scratch
from transfer_cli.models import backbone, freezing
from transfer_cli.models.compile import inference_function
from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.recipe.stages import Stage, Trunk
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.augmentation.image_data_generator import Augmenter
from transfer_cli.training.loop import frozen_activations

SHAPE = (14, 14, 128)
GIGABYTES = 8 * 868 * 14 * 14 * 128 * 2 / 1e9


@pytest.mark.parametrize(
    ("words", "epochs", "images", "views"),
    [
        ({}, 20, 868, 8),
        ({}, 12, 868, 6),
        ({}, 2 * frozen_activations.FEWEST_VIEWS, 868, frozen_activations.FEWEST_VIEWS),
        ({}, 2 * frozen_activations.FEWEST_VIEWS - 1, 868, 0),
        ({}, 20, 100_000, 0),
        ({"gigabytes": GIGABYTES}, 20, 868, 8),
        ({"gigabytes": GIGABYTES * 0.99}, 20, 868, 7),
        ({"gigabytes": GIGABYTES * 0.4}, 20, 868, 0),
        ({"views": "fresh"}, 20, 868, 0),
        ({"views": 3}, 20, 868, 3),
        ({"views": 30}, 20, 868, 20),
        ({"views": 1}, 1, 10**9, 1),
    ],
)
def test_how_many_views(words: dict[str, Any], epochs: int, images: int, views: int) -> None:
    stage = Stage(unfreeze="head", epochs=epochs, learning_rate=1e-3)
    assert frozen_activations.views_of(Trunk(**words), stage, images, SHAPE) == views


def test_every_view_is_seen_in_turn() -> None:
    kept = np.arange(12, dtype=np.float16).reshape(4, 3, 1)
    views = frozen_activations.Views(kept, seed=1)
    chosen = np.array([2, 0])
    seen = np.array([views.take(chosen, epoch)[:, 0] for epoch in range(5, 9)])
    assert sorted(seen[:, 0]) == [2, 5, 8, 11]
    assert sorted(seen[:, 1]) == [0, 3, 6, 9]
    assert views.take(chosen, 5).dtype == np.float32
    assert np.array_equal(views.take(chosen, 5), views.take(chosen, 9))
    assert np.array_equal(frozen_activations.Views(kept, seed=1).take(chosen, 7), views.take(chosen, 7))
    firsts = {int(frozen_activations.Views(kept, seed=seed).take(chosen, 0)[0, 0]) for seed in range(20)}
    assert len(firsts) > 1


@pytest.fixture(scope="module")
def images(colours: Path) -> NDArray[np.uint8]:
    paths = sorted(map(str, colours.rglob("*.png")))
    return next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images


@pytest.fixture(scope="module")
def below(images: NDArray[np.uint8]) -> Any:
    network = backbone.build(find(TINY), weights="none", size=TINY_SIZE, seed=2)
    backbone.rescale_random_batchnorms(network, images)
    return freezing.split_at(network, "from:conv_dw_6").trunk


def several(below: Any, images: NDArray[np.uint8], scratch: Scratch, run: Any = None) -> NDArray[Any]:
    rows, indices = np.array([5, 0, 30, 7, 20]), np.arange(100, 100 + len(images))
    augmentation, truth = Augmentation(rotation_range=20, horizontal_flip=True), np.zeros(len(images), np.int64)
    shown = AugmentedImages(augmentation, 3, images, indices, truth, rows, classes=1)
    shape = below.output.shape[1:]
    run = run or inference_function(below)
    told: list[int] = []
    kept = frozen_activations.several(run, shown, rows, 3, shape, scratch, 4, told.append)
    assert sum(told) == 15
    return kept


def expected(below: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    augment = Augmenter(Augmentation(rotation_range=20, horizontal_flip=True), seed=3)
    seen = [augment(images[row], view, 100 + row) for view in (1, 2, 3) for row in (5, 0, 30, 7, 20)]
    outputs: NDArray[np.float32] = inference_function(below)(np.stack(seen))
    return outputs.reshape(3, 5, *outputs.shape[1:])


def test_views_are_what_the_trunk_makes_of_augmented_pictures(
    below: Any, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    with Scratch(tmp_path) as scratch:
        kept = several(below, images, scratch)
        assert kept.dtype == np.float16
        right = expected(below, images)
        close = {"rtol": 2e-3, "atol": 2e-3 * float(np.abs(right).max())}
        np.testing.assert_allclose(kept, right, **close)
        # The twin: views under the names of others, of one picture and of one epoch.
        for wrong in (kept[:, ::-1], kept[::-1], np.repeat(kept[:1], 3, axis=0)):
            with pytest.raises(AssertionError):
                np.testing.assert_allclose(wrong, right, **close)


def test_views_on_the_disk(below: Any, images: NDArray[np.uint8], tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch, Scratch(tmp_path, memory_bytes=0) as small:
        on_disk = several(below, images, small)
        assert isinstance(on_disk.base, np.memmap) or isinstance(on_disk, np.memmap)
        assert np.array_equal(on_disk, several(below, images, scratch))
    assert list(tmp_path.iterdir()) == []


def test_outputs_too_large_for_half_the_digits(below: Any, images: NDArray[np.uint8], tmp_path: Path) -> None:
    run = inference_function(below)
    with Scratch(tmp_path) as scratch:
        calls = iter([1.0, 1.0, 1e6, 1e6])
        kept = several(below, images, scratch, lambda batch: run(batch) * next(calls))
        assert kept.dtype == np.float32
        right = expected(below, images).reshape(15, *kept.shape[2:])
        right = np.concatenate([right[:8], right[8:] * 1e6])
        np.testing.assert_allclose(kept.reshape(right.shape)[8:], right[8:], rtol=1e-4)
        np.testing.assert_allclose(kept.reshape(right.shape)[:8], right[:8], atol=2e-3 * np.abs(right[:8]).max())
