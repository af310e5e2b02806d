"""Out-of-fold scores of a classifier that is trained on subsets of several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.classifiers import ClassifierSpec
from transfer_cli.classifiers.folds import folds
from transfer_cli.learning_curves.subsets import SIZES, Rows, nested_subsets, subset_shares
from transfer_cli.metrics.intervals import MetricValue, Resamples, proportion
from transfer_cli.metrics.scores import correct_images
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.training.setup.labelled_features import LabelledFeatures

_REPEATS = ((2000, 5), (5000, 3))
"""Up to a number of images, a number of repeats: subsets of many images differ less, and training takes longer."""
_LEAST_REPEATS = 2
_LEAST_GROWTH = 1.2
"""A size that is not larger than the next smaller one by this factor is no point of its own."""


@dataclass(frozen=True)
class SubsetScores:
    """Which images are classified correctly after training on subsets of the others.

    Attributes
    ----------
    images : ndarray of shape (sizes,), float64
        Mean number of training images, ascending.
    correct : ndarray of shape (sizes, repeats, n), float32
        1 or 0; NaN where an image is not scored.
    groups : ndarray of shape (n,), int
    """

    images: NDArray[np.float64]
    correct: NDArray[np.float32]
    groups: NDArray[np.int64]

    def accuracies(self) -> list[MetricValue]:
        """Return the accuracy of each size with Wilson's interval for the number of scored images."""
        per_image = np.nanmean(self.correct[:, :, ~np.isnan(self.correct[0]).all(axis=0)], axis=1)
        return [proportion(float(row.sum()), len(row)) for row in per_image.astype(np.float64)]

    def resampled_accuracies(self, seed: int) -> NDArray[np.float64]:
        """Return the accuracies of bootstrap resamples, shape (resamples, sizes): of groups, and of repeats."""
        sizes, repeats, _ = self.correct.shape
        _, number = np.unique(self.groups, return_inverse=True)
        resamples = Resamples(int(number.max()) + 1, seed=seed)
        sums, counts = (np.zeros((resamples.images, sizes * repeats), np.float32) for _ in range(2))
        flat = self.correct.reshape(sizes * repeats, -1).T
        np.add.at(sums, number, np.nan_to_num(flat))
        np.add.at(counts, number, ~np.isnan(flat))
        random = np.random.default_rng(seed)
        accuracies = []
        for weights in resamples.blocks():
            drawn = random.multinomial(repeats, np.full(repeats, 1 / repeats), weights.shape[1])
            right, of = (
                np.einsum("bsr,br->bs", (weights.T @ each).reshape(-1, sizes, repeats), drawn)
                for each in (sums, counts)
            )
            accuracies.append(right / np.maximum(of, 1))
        return np.concatenate(accuracies)


def score_subsets(images: LabelledFeatures, recipe: ExtractRecipe, progress: Progress) -> SubsetScores:
    """Train the classifier of a recipe on subsets of the training folds, and score it on the images of the other fold.

    In each repeat the images are distributed to other folds. The default classifier is tuned on each subset, as by
    `extract`; a slower one on the first subset of each size.

    Parameters
    ----------
    images : LabelledFeatures
    recipe : ExtractRecipe
        Resolved.
    progress : Progress
    """
    count = len(images.truth)
    repeats = next((number for most, number in _REPEATS if count <= most), _LEAST_REPEATS)
    trainer = _Trainer(images, recipe)
    correct = np.full((SIZES, repeats, count), np.nan, np.float32)
    numbers: list[list[int]] = [[] for _ in range(SIZES)]
    scored, splits = images.scored, recipe.classifier.spec.folds
    with progress.track("training on subsets of the images", repeats * splits * SIZES) as advance:
        for repeat in range(repeats):
            for test, subsets in _folds_with_subsets(images, splits, recipe.seed, repeat):
                held_out = test[scored[test]]
                for size, rows in enumerate(subsets):
                    numbers[size].append(len(rows))
                    if size and len(rows) == len(subsets[size - 1]):
                        correct[size, repeat, held_out] = correct[size - 1, repeat, held_out]
                    elif len(held_out):
                        correct[size, repeat, held_out] = trainer.correct(size, rows, held_out)
                    advance(1)
    means = np.array([np.mean(each) for each in numbers])
    kept = _distinct(means)
    return SubsetScores(means[kept], correct[kept], images.groups)


def _folds_with_subsets(
    images: LabelledFeatures, count: int, seed: int, repeat: int
) -> Iterator[tuple[Rows, list[Rows]]]:
    """Yield the images of each fold that can be scored, and the subsets of the other images."""
    random = np.random.default_rng([seed, repeat])
    for train, test in folds(images.truth, count, int(random.integers(2**31)), images.groups):
        truth = images.truth[train]
        subsets = nested_subsets(truth, images.groups[train], subset_shares(truth), random)
        # If groups have several classes each, the other folds may lack a class.
        held_out = test[np.isin(images.truth[test], truth)] if truth.ndim == 1 else test
        yield held_out, [train[rows] for rows in subsets]


class _Trainer:
    """Trains the classifier of a recipe on some images, and tests it on others."""

    def __init__(self, images: LabelledFeatures, recipe: ExtractRecipe) -> None:
        self._images, self._seed = images, recipe.seed
        self._spec, self._tunes = recipe.classifier.spec, bool(recipe.classifier.tune)
        self._tunes_each = self._spec.is_discriminant and images.truth.ndim == 1
        self._tuned: dict[int, ClassifierSpec] = {}

    def correct(self, size: int, rows: Rows, held_out: Rows) -> NDArray[np.bool_]:
        """Return which held-out images are classified correctly after training on `rows`, a subset of a size."""
        from transfer_cli.classifiers import fit

        images, spec = self._images, self._tuned.get(size, self._spec)
        tunes = self._tunes and size not in self._tuned
        options = fit.FitOptions(images.classes, tunes, float("inf"), out_of_fold=False, seed=self._seed)
        fitted = fit.fit(spec, images.features[rows], images.truth[rows], options, groups=images.groups[rows])
        if tunes and not self._tunes_each:
            self._tuned[size] = replace(spec, default=fitted.value)
        probabilities = fit.probabilities(fitted.pipeline, images.features[held_out], images.classes)
        return correct_images(images.truth[held_out], probabilities)


def _distinct(means: NDArray[np.float64]) -> list[int]:
    """Return the sizes that differ enough to be points of a curve, the largest first among equals."""
    kept = [len(means) - 1]
    for size in reversed(range(len(means) - 1)):
        if means[size] * _LEAST_GROWTH <= means[kept[0]]:
            kept.insert(0, size)
    return kept
