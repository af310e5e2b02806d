"""Relatives are never in two folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from transfer_cli.catalog.classifiers import find
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.folds import folds, single_rows

PATIENTS, EACH, WIDTH = 40, 6, 100


def patients(classes: int = 2, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return features that say whose picture it is and nothing of its class, the class, and whose it is."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(PATIENTS), EACH)
    features = random.normal(0, 1, (PATIENTS, WIDTH))[who] + random.normal(0, 0.05, (len(who), WIDTH))
    return features.astype(np.float32), np.arange(PATIENTS)[who] % classes, who


@pytest.mark.parametrize("name", ["logistic", "knn", "linear-svm"])
def test_fit_groups_do_not_inflate_out_of_fold_score(name: str) -> None:
    features, truth, who = patients()

    def accuracy(groups: NDArray[np.int64] | None) -> float:
        fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes=2, tune=False), groups=groups)
        assert fitted.out_of_fold is not None
        return float((fitted.out_of_fold.argmax(axis=1) == truth).mean())

    assert accuracy(who) < 0.7
    # The twin: dealt picture by picture, each is recognised by its relatives.
    assert accuracy(None) > 0.95


def test_tuning_with_groups_chooses_more_regularisation() -> None:
    features, truth, who = patients()
    honest, leaking = (
        fit.fit(find("logistic"), features, truth, fit.FitOptions(classes=2, tune=True), groups=groups)
        for groups in (who, None)
    )
    assert honest.value < leaking.value


def test_folds_groups_are_stratified() -> None:
    _, truth, who = patients(4)
    for train, test in folds(truth, 5, 0, who):
        assert not set(who[train]) & set(who[test])
        assert np.bincount(truth[test], minlength=4).tolist() == [2 * EACH] * 4


def test_folds_single_row_groups_equal_no_groups() -> None:
    truth = np.random.default_rng(0).integers(0, 4, 101)
    alone = np.random.default_rng(1).permutation(101)
    for (train, test), (train_again, test_again) in zip(folds(truth, 5, 3), folds(truth, 5, 3, alone), strict=True):
        assert np.array_equal(train, train_again)
        assert np.array_equal(test, test_again)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=60), st.integers(0, 9))
def test_folds_groups_are_whole_and_rows_in_one_fold(rows: list[tuple[int, int]], seed: int) -> None:
    truth, groups = np.array(rows, np.int64).T
    single = single_rows(truth, groups)
    splits = folds(truth, 5, seed, groups)
    assert sorted(np.concatenate([test for _, test in splits]).tolist()) == list(range(len(rows)))
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test]) - set(groups[single])
        assert set(np.flatnonzero(single)) <= set(train)
        assert set(train) | set(test) == set(range(len(rows)))


def test_fit_class_of_one_group_is_not_scored() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    groups = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    assert single_rows(truth, groups).tolist() == [False] * 4 + [True] * 4
    features = np.random.default_rng(0).normal(0, 1, (8, 4)).astype(np.float32)
    fitted = fit.fit(find("logistic"), features, truth, fit.FitOptions(classes=2, tune=True), groups=groups)
    assert fitted.out_of_fold is not None
    assert np.isnan(fitted.out_of_fold[:, 0]).tolist() == [False] * 4 + [True] * 4


def test_fit_every_class_one_group_scores_nothing() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1])
    features = np.random.default_rng(0).normal(0, 1, (6, 4)).astype(np.float32)
    fitted = fit.fit(find("logistic"), features, truth, fit.FitOptions(classes=2, tune=True), groups=truth)
    assert fitted.out_of_fold is not None
    assert np.isnan(fitted.out_of_fold).all()
    assert fitted.trials == ()
