"""The images of a training, and which of them train and validate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data import bootstrap
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import FinetuneRecipe

if TYPE_CHECKING:
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """The images that a network is trained on, and those that choose the best epoch.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each image in its folder; seed, epoch and position determine its augmentation.
    truth : ndarray of shape (n,) or (n, k), int
        Class column of each image, or the indicator matrix of its labels.
    train, val : ndarray of int
        Row numbers; in a bootstrap sample (bagging) a row can occur several times in `train`.
    groups : ndarray of shape (n,), int, or None
        Group id of each image.
    """

    images: NDArray[np.uint8]
    indices: Rows
    truth: Rows
    train: Rows
    val: Rows
    groups: Rows | None = None

    @classmethod
    def of(
        cls,
        images: NDArray[np.uint8],
        indices: Sequence[int],
        split: Split,
        recipe: FinetuneRecipe,
        groups: Rows | None = None,
    ) -> TrainingData:
        """Return the images of a split; with a recipe of bagging, `train` is the bootstrap sample of this bag."""
        train, truth = np.flatnonzero(split.mask("train")), split.truth()
        if recipe.bag is not None:
            group_ids = np.arange(len(truth)) if groups is None else groups
            train = train[bootstrap.bootstrap_sample(recipe.bag, recipe.seed, truth[train], group_ids[train])]
        return cls(images, np.array(indices, np.int64), truth, train, np.flatnonzero(split.mask("val")), groups)

    def with_val_in_train(self) -> TrainingData:
        """Return the data of a refit: the validation images are training images, and none validates."""
        both = np.sort(np.concatenate([self.train, self.val]))
        return replace(self, train=both, val=np.empty(0, np.int64))

    def augmented(self, recipe: FinetuneRecipe, classes: int) -> AugmentedImages:
        """Return the images as the network sees them in each epoch."""
        from transfer_cli.training.augmentation.augmented_images import AugmentedImages

        return AugmentedImages(
            recipe.augmentation, recipe.seed, self.images, self.indices, self.truth, self.train, classes
        )
