"""Wrong labels are among the first suspects."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.planting import plant_wrong_labels
from tests.planted_leaks import Planted
from transfer_cli.audit.label_issues import RANKING, RANKINGS, confidently_other, out_of_fold, suspects
from transfer_cli.data.split import Split
from transfer_cli.features import table

WRONG, LOOKED_AT, BAR = 20, 40, 12
"""Two draws are noisier than the ten of benchmarks/suspects.py, whose bar is 14."""


def test_planted_wrong_labels_are_among_the_first(planted: Planted) -> None:
    split = Split.read(planted.run / "split.csv")
    train = split.mask("train")
    truth, matrix = split.truth()[train], table.read(planted.run / "features.parquet")[train]
    found, by_chance = [], []
    for draw in range(2):
        labels, wrong = plant_wrong_labels(truth.tolist(), 10, WRONG, draw)
        given = np.array(labels, np.int64)
        probabilities = out_of_fold(matrix, given, 10)
        score = RANKINGS[RANKING](given, probabilities)
        sure = set(np.flatnonzero(confidently_other(given, probabilities)).tolist())
        disagreed = int((probabilities.argmax(axis=1) != given).sum())
        assert len(sure) < 0.8 * disagreed
        assert len(wrong & sure) >= BAR
        found.append(len(wrong & set(np.argsort(score)[:LOOKED_AT].tolist())))
        random = np.random.default_rng(draw).random(len(given))
        by_chance.append(len(wrong & set(np.argsort(random)[:LOOKED_AT].tolist())))
    assert np.mean(found) >= BAR
    assert np.mean(by_chance) < BAR


@pytest.mark.parametrize("ranking", RANKINGS)
def test_the_least_likely_label_comes_first(ranking: str) -> None:
    truth = np.array([0, 1, 0], np.int64)
    given = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], np.float32)
    assert np.argsort(RANKINGS[ranking](truth, given)).tolist() == [1, 2, 0]
    labels = np.array([[1, 0], [0, 1], [1, 0]], np.int64)
    assert np.argsort(RANKINGS[ranking](labels, given)).tolist() == [1, 2, 0]


def test_what_looks_like_its_label_is_no_suspect() -> None:
    given = np.array([[0.9, 0.1], [0.8, 0.2], [np.nan, np.nan]], np.float32)
    found = suspects(("a", "b", "c"), np.array([0, 1, 1]), ("cat", "dog"), given)
    assert [(item.path, item.labels, item.likely, item.score) for item in found] == [("b", ("dog",), ("cat",), 0.2)]
    several = np.array([[1, 0], [1, 1], [0, 1]], np.int64)
    found = suspects(("a", "b", "c"), several, ("cat", "dog"), given)
    assert [(item.path, item.labels, item.likely) for item in found] == [("b", ("cat", "dog"), ("cat",))]


def test_sure_of_another_class_is_who_is_as_sure_as_of_its_own_pictures() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    given = np.array([[0.9, 0.1], [0.1, 0.9], [0.45, 0.55], [0.2, 0.8], [0.3, 0.7]], np.float32)
    # The mean of class 1 over its own is 0.75: the third picture looks like it, but less than they do.
    assert confidently_other(truth, given).tolist() == [False, True, False, False, False]
    labels = np.eye(2, dtype=np.int64)[truth]
    assert confidently_other(labels, given).tolist() == [False, True, False, False, False]
    # A label that no picture has, or all have, has no bar.
    assert not confidently_other(np.ones((5, 2), np.int64), given)[0]
