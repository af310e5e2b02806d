"""Combinations of the members' probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.ensembling.member_comparison import disagreement
from transfer_cli.inference.ensemble_model import log_probabilities, majority, weighted_mean


def independent(accuracy: float, models: int, images: int, classes: int = 2) -> np.ndarray:
    """Return predictions of models with independent errors; class 0 is always the truth."""
    random = np.random.default_rng(1)
    correct = random.random((models, images)) < accuracy
    wrong = random.integers(1, classes, (models, images))
    predicted = np.where(correct, 0, wrong)
    confidence = random.uniform(0.6, 0.9, (models, images, 1))
    return np.asarray(
        np.where(np.eye(classes)[predicted] > 0, confidence, (1 - confidence) / (classes - 1)), np.float32
    )


def test_majority_of_three_independent_models_has_the_theoretical_accuracy() -> None:
    """With an accuracy of 0.7 each: 0.7^3 + 3 * 0.7^2 * 0.3 = 0.784 (Condorcet's jury theorem)."""
    voted = majority(independent(0.7, 3, 200_000)).argmax(axis=1) == 0
    assert voted.mean() == pytest.approx(0.784, abs=0.005)


def test_majority_of_models_with_the_same_errors_gains_nothing() -> None:
    """Control: the gain comes from the independence of the errors."""
    one = independent(0.7, 1, 200_000)
    assert (majority(np.concatenate([one] * 3)).argmax(axis=1) == 0).mean() == pytest.approx(0.7, abs=0.005)


def test_majority_outvotes_confidence_and_breaks_ties_by_it() -> None:
    two_to_one = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.0, 1.0]]], np.float32)
    assert majority(two_to_one).argmax() == 0
    assert weighted_mean(two_to_one, [1, 1, 1]).argmax() == 1
    one_each = np.array([[[0.6, 0.3, 0.1]], [[0.1, 0.8, 0.1]]], np.float32)
    assert majority(one_each).argmax() == 1
    three_each = np.array([[[0.4, 0.35, 0.25]], [[0.3, 0.4, 0.3]], [[0.1, 0.1, 0.8]]], np.float32)
    assert majority(three_each).argmax() == 2


def test_combined_probabilities_sum_to_one() -> None:
    probabilities = independent(0.6, 5, 100, classes=4)
    for combined in (majority(probabilities), weighted_mean(probabilities, [3, 1, 0, 0, 2])):
        assert combined.shape == (100, 4)
        assert combined.dtype == np.float32
        np.testing.assert_allclose(combined.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weighted_mean(probabilities, [0, 0, 1, 0, 0]), probabilities[2], atol=1e-7)


def test_log_probabilities_of_zero_are_finite() -> None:
    probabilities = np.array([[[1.0, 0.0]], [[0.25, 0.75]]], np.float32)
    logs = log_probabilities(probabilities)
    np.testing.assert_allclose(logs, [[0, np.log(1e-6), np.log(0.25), np.log(0.75)]], atol=1e-5)


def test_member_disagreement() -> None:
    labels = np.array([[1, 0], [1, 1]])
    assert disagreement([labels, np.array([[1, 0], [0, 1]])]) == ((0.0, 0.5), (0.5, 0.0))
