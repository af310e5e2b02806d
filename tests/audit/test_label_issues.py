"""Wrong labels are among the first label issues."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.label_rankings import RANKINGS
from benchmarks.planting import plant_wrong_labels
from tests.planted_leaks import Planted
from transfer_cli.audit.label_issues import confidently_other, label_issues, out_of_fold, self_confidence
from transfer_cli.data.split import Split
from transfer_cli.features import table

WRONG, FIRST, MIN_FOUND = 20, 40, 12
"""Two draws are noisier than the ten of benchmarks/suspects.py, which expects 14."""


def test_ranking_puts_planted_wrong_labels_first(planted: Planted) -> None:
    split = Split.read(planted.run / "split.csv")
    train = split.mask("train")
    truth, matrix = split.truth()[train], table.read(planted.run / "features.parquet")[train]
    found, found_at_random = [], []
    for draw in range(2):
        labels, wrong = plant_wrong_labels(truth.tolist(), 10, WRONG, draw)
        given_labels = np.array(labels, np.int64)
        probabilities = out_of_fold(matrix, given_labels, 10)
        score = self_confidence(given_labels, probabilities)
        confident = set(np.flatnonzero(confidently_other(given_labels, probabilities)).tolist())
        disagreed = int((probabilities.argmax(axis=1) != given_labels).sum())
        assert len(confident) < 0.8 * disagreed
        assert len(wrong & confident) >= MIN_FOUND
        found.append(len(wrong & set(np.argsort(score)[:FIRST].tolist())))
        random = np.random.default_rng(draw).random(len(given_labels))
        found_at_random.append(len(wrong & set(np.argsort(random)[:FIRST].tolist())))
    assert np.mean(found) >= MIN_FOUND
    assert np.mean(found_at_random) < MIN_FOUND


@pytest.mark.parametrize("ranking", RANKINGS)
def test_rankings_least_likely_label_comes_first(ranking: str) -> None:
    truth = np.array([0, 1, 0], np.int64)
    given = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], np.float32)
    assert np.argsort(RANKINGS[ranking](truth, given)).tolist() == [1, 2, 0]
    labels = np.array([[1, 0], [0, 1], [1, 0]], np.int64)
    assert np.argsort(RANKINGS[ranking](labels, given)).tolist() == [1, 2, 0]


def test_label_issues_lists_images_with_another_prediction() -> None:
    given = np.array([[0.9, 0.1], [0.8, 0.2], [np.nan, np.nan]], np.float32)
    issues = label_issues(("a", "b", "c"), np.array([0, 1, 1]), ("cat", "dog"), given)
    assert [(item.path, item.labels, item.suggested, item.score) for item in issues] == [("b", ("dog",), ("cat",), 0.2)]
    multi_label = np.array([[1, 0], [1, 1], [0, 1]], np.int64)
    issues = label_issues(("a", "b", "c"), multi_label, ("cat", "dog"), given)
    assert [(item.path, item.labels, item.suggested) for item in issues] == [("b", ("cat", "dog"), ("cat",))]


def test_confidently_other_needs_the_mean_probability_of_the_other_class() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    given = np.array([[0.9, 0.1], [0.1, 0.9], [0.45, 0.55], [0.2, 0.8], [0.3, 0.7]], np.float32)
    # The threshold of class 1 is 0.75, the mean over its own images: the third image does not reach it.
    assert confidently_other(truth, given).tolist() == [False, True, False, False, False]
    labels = np.eye(2, dtype=np.int64)[truth]
    assert confidently_other(labels, given).tolist() == [False, True, False, False, False]
    # A label that no image has, or all have, has no threshold.
    assert not confidently_other(np.ones((5, 2), np.int64), given)[0]
