"""Several answers as one."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.ensembling.member_comparison import disagreement
from transfer_cli.inference.combine import log_probabilities, majority, weighted_mean


def independent(accuracy: float, models: int, images: int, classes: int = 2) -> np.ndarray:
    """Return answers of models that err independently of one another; class 0 is always the truth."""
    random = np.random.default_rng(1)
    right = random.random((models, images)) < accuracy
    wrong = random.integers(1, classes, (models, images))
    named = np.where(right, 0, wrong)
    sure = random.uniform(0.6, 0.9, (models, images, 1))
    return np.asarray(np.where(np.eye(classes)[named] > 0, sure, (1 - sure) / (classes - 1)), np.float32)


def test_three_independent_voters_are_as_good_as_the_textbook_says() -> None:
    """Of 0.7 each: 0.7^3 + 3 * 0.7^2 * 0.3 = 0.784 (Condorcet)."""
    voted = majority(independent(0.7, 3, 200_000)).argmax(axis=1) == 0
    assert voted.mean() == pytest.approx(0.784, abs=0.005)


def test_voters_who_err_together_gain_nothing() -> None:
    """The twin: the figure comes from their independence."""
    one = independent(0.7, 1, 200_000)
    assert (majority(np.concatenate([one] * 3)).argmax(axis=1) == 0).mean() == pytest.approx(0.7, abs=0.005)


def test_a_majority_outvotes_any_certainty_and_equals_go_by_it() -> None:
    two_to_one = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.0, 1.0]]], np.float32)
    assert majority(two_to_one).argmax() == 0
    assert weighted_mean(two_to_one, [1, 1, 1]).argmax() == 1
    one_each = np.array([[[0.6, 0.3, 0.1]], [[0.1, 0.8, 0.1]]], np.float32)
    assert majority(one_each).argmax() == 1
    three_each = np.array([[[0.4, 0.35, 0.25]], [[0.3, 0.4, 0.3]], [[0.1, 0.1, 0.8]]], np.float32)
    assert majority(three_each).argmax() == 2


def test_rows_add_up_to_one() -> None:
    given = independent(0.6, 5, 100, classes=4)
    for joined in (majority(given), weighted_mean(given, [3, 1, 0, 0, 2])):
        assert joined.shape == (100, 4)
        assert joined.dtype == np.float32
        np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weighted_mean(given, [0, 0, 1, 0, 0]), given[2], atol=1e-7)


def test_what_is_impossible_has_a_logarithm() -> None:
    given = np.array([[[1.0, 0.0]], [[0.25, 0.75]]], np.float32)
    logs = log_probabilities(given)
    np.testing.assert_allclose(logs, [[0, np.log(1e-6), np.log(0.25), np.log(0.75)]], atol=1e-5)


def test_how_much_members_differ() -> None:
    labels = np.array([[1, 0], [1, 1]])
    assert disagreement([labels, np.array([[1, 0], [0, 1]])]) == ((0.0, 0.5), (0.5, 0.0))
