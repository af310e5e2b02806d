"""Scores of subsets are out of fold and the same for the same seed; groups count as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.learning_curves.synthetic import blobs
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.learning_curves.scores import SubsetScores, score_subsets
from transfer_cli.progress import SILENT
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.training.setup.labelled_features import LabelledFeatures


def scored(images: LabelledFeatures, tune: bool = False) -> SubsetScores:
    task = SINGLE_LABEL if images.truth.ndim == 1 else MULTI_LABEL
    return score_subsets(images, ExtractRecipe.load(settings={"classifier.tune": tune}).resolved(task), SILENT)


def values(scores: SubsetScores) -> list[float]:
    return [each["value"] for each in scores.accuracies()]


def test_score_subsets_accuracy_rises_with_images() -> None:
    scores = scored(blobs(200, 1.5))
    assert scores.images.tolist() == [8, 20, 40, 80, 160]
    assert scores.correct.shape == (5, 5, 200)
    accuracies = values(scores)
    assert np.diff(accuracies).min() > -0.02
    assert accuracies[-1] > accuracies[0] + 0.1


def test_score_subsets_random_labels_are_at_chance_level() -> None:
    images = blobs(60, 1.0, width=100)
    shuffled = replace(images, truth=np.random.default_rng(3).permutation(images.truth))
    # Planted fault: with a copy of each image in another fold, their labels are recognised.
    copies = replace(
        shuffled, features=images.features.repeat(2, axis=0), truth=shuffled.truth.repeat(2), groups=np.arange(120)
    )
    assert values(scored(copies))[-1] > 0.6
    assert max(values(scored(replace(copies, groups=np.arange(60).repeat(2))))) < 0.45


def test_score_subsets_large_groups_give_fewer_sizes() -> None:
    images = blobs(80, 1.0)
    grouped = scored(replace(images, groups=np.arange(80) // 20))
    assert len(grouped.images) < 4


def test_score_subsets_does_not_score_the_only_image_of_a_class() -> None:
    images = blobs(20, 0.5)
    truth = np.append(images.truth[:-1], 4)
    scores = scored(replace(images, truth=truth, classes=5))
    assert np.isnan(scores.correct[:, :, -1]).all()
    assert not np.isnan(scores.correct[:, :, :-1]).any()
    assert {each["value"] <= 1.0 for each in scores.accuracies()} == {True}


def test_score_subsets_of_several_labels() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((60, 2)) < 0.4).astype(np.int64)
    features = (truth @ random.normal(size=(2, 10)) * 2 + random.normal(size=(60, 10))).astype(np.float32)
    accuracies = values(scored(LabelledFeatures(features, truth, np.arange(60), 2, ()), tune=True))
    assert accuracies[-1] > accuracies[0]
    assert accuracies[-1] > 0.7


def test_resampled_accuracies_resample_groups_and_repeats() -> None:
    random = np.random.default_rng(0)
    people, each, repeats = 50, 8, 5
    level = random.random(people).repeat(each)
    correct = (random.random((2, repeats, people * each)) < level).astype(np.float32)
    images, alone = np.array([10.0, 20.0]), np.arange(people * each)
    grouped = SubsetScores(images, correct, alone // each).resampled_accuracies(seed=0)
    single = SubsetScores(images, correct, alone).resampled_accuracies(seed=0)
    assert grouped.shape == single.shape == (1000, 2)
    assert grouped.mean(axis=0) == pytest.approx(correct.mean(axis=(1, 2)), abs=0.01)
    assert grouped.std() > 1.5 * single.std()
    # All images are correct in one repeat, and none in the others.
    apart = np.zeros((2, repeats, 100), np.float32)
    apart[:, 0] = 1
    resampled = SubsetScores(images, apart, np.arange(100)).resampled_accuracies(seed=0)
    assert resampled.std() == pytest.approx(0.18, abs=0.03)
