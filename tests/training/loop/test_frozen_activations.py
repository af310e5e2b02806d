"""Cached outputs of the frozen layers equal the outputs on the same augmented images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import TINY, TINY_SIZE
from transfer_cli.catalog.backbones import find
from transfer_cli.data.image_batches import batches
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models import backbone, freezing
from transfer_cli.models.compile import inference_function
from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.recipe.stages import Stage, Trunk
from transfer_cli.training.augmentation.augmented_images import AugmentedImages
from transfer_cli.training.augmentation.augmenter import Augmenter
from transfer_cli.training.loop import frozen_activations

SHAPE = (14, 14, 128)
GIGABYTES = 8 * 868 * 14 * 14 * 128 * 2 / 1e9


@pytest.mark.parametrize(
    ("settings", "epochs", "images", "views"),
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
def test_number_of_views_by_epochs_and_size(settings: dict[str, Any], epochs: int, images: int, views: int) -> None:
    stage = Stage(unfreeze="head", epochs=epochs, learning_rate=1e-3)
    assert frozen_activations.number_of_views(Trunk(**settings), stage, images, SHAPE) == views


def test_cached_views_epochs_cycle_through_all_views() -> None:
    outputs = np.arange(12, dtype=np.float16).reshape(4, 3, 1)
    views = frozen_activations.CachedViews(outputs, seed=1)
    positions = np.array([2, 0])
    used = np.array([views.take(positions, epoch)[:, 0] for epoch in range(5, 9)])
    assert sorted(used[:, 0]) == [2, 5, 8, 11]
    assert sorted(used[:, 1]) == [0, 3, 6, 9]
    assert views.take(positions, 5).dtype == np.float32
    assert np.array_equal(views.take(positions, 5), views.take(positions, 9))
    assert np.array_equal(frozen_activations.CachedViews(outputs, seed=1).take(positions, 7), views.take(positions, 7))
    firsts = {int(frozen_activations.CachedViews(outputs, seed=seed).take(positions, 0)[0, 0]) for seed in range(20)}
    assert len(firsts) > 1


@pytest.fixture(scope="module")
def images(colours: Path) -> NDArray[np.uint8]:
    paths = sorted(map(str, colours.rglob("*.png")))
    return next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images


@pytest.fixture(scope="module")
def frozen(images: NDArray[np.uint8]) -> Any:
    network = backbone.build(find(TINY), weights="none", size=TINY_SIZE, seed=2)
    backbone.rescale_random_batchnorms(network, images)
    return freezing.split_at(network, "from:conv_dw_6").frozen


def compute_views(frozen: Any, images: NDArray[np.uint8], store: ArrayStore, run: Any = None) -> NDArray[Any]:
    rows, indices = np.array([5, 0, 30, 7, 20]), np.arange(100, 100 + len(images))
    augmentation, truth = Augmentation(rotation_range=20, horizontal_flip=True), np.zeros(len(images), np.int64)
    augmented = AugmentedImages(augmentation, 3, images, indices, truth, rows, classes=1)
    shape = frozen.output.shape[1:]
    run = run or inference_function(frozen)
    advanced: list[int] = []
    outputs = frozen_activations.compute_views(run, augmented, rows, 3, shape, store, 4, advanced.append)
    assert sum(advanced) == 15
    return outputs


def expected(frozen: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    augment = Augmenter(Augmentation(rotation_range=20, horizontal_flip=True), seed=3)
    batch = [augment(images[row], view, 100 + row) for view in (1, 2, 3) for row in (5, 0, 30, 7, 20)]
    outputs: NDArray[np.float32] = inference_function(frozen)(np.stack(batch))
    return outputs.reshape(3, 5, *outputs.shape[1:])


def test_compute_views_equals_the_frozen_layers_on_augmented_images(
    frozen: Any, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    with ArrayStore(tmp_path) as store:
        outputs = compute_views(frozen, images, store)
        assert outputs.dtype == np.float16
        right = expected(frozen, images)
        close = {"rtol": 2e-3, "atol": 2e-3 * float(np.abs(right).max())}
        np.testing.assert_allclose(outputs, right, **close)
        # Planted faults: images interchanged, views interchanged, the same view three times.
        for wrong in (outputs[:, ::-1], outputs[::-1], np.repeat(outputs[:1], 3, axis=0)):
            with pytest.raises(AssertionError):
                np.testing.assert_allclose(wrong, right, **close)


def test_compute_views_on_disk_are_the_same(frozen: Any, images: NDArray[np.uint8], tmp_path: Path) -> None:
    with ArrayStore(tmp_path) as store, ArrayStore(tmp_path, memory_bytes=0) as small:
        on_disk = compute_views(frozen, images, small)
        assert isinstance(on_disk.base, np.memmap) or isinstance(on_disk, np.memmap)
        assert np.array_equal(on_disk, compute_views(frozen, images, store))
    assert list(tmp_path.iterdir()) == []


def test_compute_views_too_large_for_float16_is_float32(frozen: Any, images: NDArray[np.uint8], tmp_path: Path) -> None:
    run = inference_function(frozen)
    with ArrayStore(tmp_path) as store:
        factors = iter([1.0, 1.0, 1e6, 1e6])
        outputs = compute_views(frozen, images, store, lambda batch: run(batch) * next(factors))
        assert outputs.dtype == np.float32
        right = expected(frozen, images).reshape(15, *outputs.shape[2:])
        right = np.concatenate([right[:8], right[8:] * 1e6])
        np.testing.assert_allclose(outputs.reshape(right.shape)[8:], right[8:], rtol=1e-4)
        np.testing.assert_allclose(outputs.reshape(right.shape)[:8], right[:8], atol=2e-3 * np.abs(right[:8]).max())
