"""The images of a training and of its refit."""

from __future__ import annotations

import numpy as np

from transfer_cli.data.split import Split, SplitRow
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop.context import TrainingData
from transfer_cli.training.setup.image_store import Decoded

PARTS = ("train", "val", "train", "test", "val", "train")
ROWS = [SplitRow(f"{number}.png", f"{number:064}", ("ab"[number % 2],), part) for number, part in enumerate(PARTS)]
SPLIT = Split(tuple(ROWS), 0, "digest")


def data_of(bag: int | None = None) -> TrainingData:
    recipe = FinetuneRecipe.load(None, []).model_copy(update={"bag": bag})
    decoded = Decoded(np.zeros((6, 2, 2, 3), np.uint8), tuple(range(10, 16)), (), ())
    return TrainingData.of(decoded, SPLIT, recipe, np.arange(6))


def test_training_data_of_a_split_has_the_rows_of_train_and_val() -> None:
    data = data_of()
    assert (data.train.tolist(), data.val.tolist()) == ([0, 2, 5], [1, 4])
    assert data.truth.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.indices.tolist() == [10, 11, 12, 13, 14, 15]


def test_training_data_of_a_bag_repeats_training_images_only() -> None:
    bags = [data_of(bag) for bag in range(6)]
    assert all(set(data.train.tolist()) <= {0, 2, 5} and data.val.tolist() == [1, 4] for data in bags)
    assert any(len(set(data.train.tolist())) < len(data.train) for data in bags)


def test_with_val_in_train_leaves_the_original_unchanged() -> None:
    data = data_of()
    refit = data.with_val_in_train()
    assert (refit.train.tolist(), refit.val.tolist()) == ([0, 1, 2, 4, 5], [])
    assert (data.train.tolist(), data.val.tolist()) == ([0, 2, 5], [1, 4])
