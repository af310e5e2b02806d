"""Subsets of training images are nested, stratified, and made of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import strata
from transfer_cli.learning_curves.subsets import nested_subsets, subset_shares


def subsets_of(truth: NDArray[np.int64], groups: NDArray[np.int64], seed: int = 0) -> list[NDArray[np.int64]]:
    return nested_subsets(truth, groups, subset_shares(truth), np.random.default_rng(seed))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=120), st.integers(0, 5))
def test_nested_subsets_contain_smaller_ones_and_whole_groups(rows: list[tuple[int, int]], seed: int) -> None:
    truth, groups = np.array(rows, np.int64).T
    smaller: set[int] = set()
    for subset in subsets_of(truth, groups, seed):
        chosen = set(subset.tolist())
        assert smaller <= chosen
        assert np.isin(groups, groups[subset]).sum() == len(subset)
        assert set(truth[subset]) == set(truth)
        smaller = chosen
    assert len(smaller) == len(truth)


def test_nested_subsets_without_groups_are_stratified() -> None:
    truth = np.repeat([0, 1, 2], [160, 320, 1])
    counts = [np.bincount(truth[rows]).tolist() for rows in subsets_of(truth, np.arange(len(truth)))]
    assert counts == [[10, 20, 1], [20, 40, 1], [40, 80, 1], [80, 160, 1], [160, 320, 1]]


def test_nested_subsets_differ_by_seed() -> None:
    truth, alone = np.repeat([0, 1], 80), np.arange(160)
    first, again, other = (subsets_of(truth, alone, seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_nested_subsets_of_several_labels_have_all_of_them() -> None:
    truth = (np.random.default_rng(0).random((200, 5)) < [0.02, 0.1, 0.3, 0.5, 0.9]).astype(np.int64)
    smallest = subsets_of(truth, np.arange(200))[0]
    assert truth[smallest].any(axis=0).all()
    assert len(smallest) < 30
    assert set(strata(truth)[smallest]) == set(strata(truth))


@pytest.mark.parametrize(
    ("per_class", "shares"),
    [(320, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]), (4, [0.5, 0.595, 0.707, 0.841, 1]), (2, [1] * 5), (1, [1] * 5)],
)
def test_subset_shares_leave_two_images_per_class(per_class: int, shares: list[float]) -> None:
    assert subset_shares(np.repeat([0, 1, 2], per_class)) == pytest.approx(shares, abs=1e-3)
