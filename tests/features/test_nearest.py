"""The nearest by their cosine: exact, the same whatever the blocks, equal ones in order."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.features import nearest as module
from transfer_cli.features.nearest import nearest


def by_hand(features: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every cosine in double precision, pair by pair."""
    cosines = np.array(
        [[np.float32(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) for two in features] for one in queries]
    )
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("k", [1, 5, 60, 100])
def test_they_are_those_of_a_comparison_of_all(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    features, queries = random.normal(size=(60, 17)), random.normal(size=(23, 17))
    expected, values = by_hand(features, queries, k)
    indices, cosines = nearest(features.astype(np.float32), queries.astype(np.float32), k)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(cosines, values, atol=1e-6)
    for name, size in (("_QUERIES_A_BLOCK", 4), ("_FEATURES_A_BLOCK", 7), ("_NUMBERS_COMPARED", 40)):
        monkeypatch.setattr(module, name, size)
    again = nearest(features.astype(np.float32), queries.astype(np.float32), k)
    np.testing.assert_array_equal(again[0], indices)
    np.testing.assert_array_equal(again[1], cosines)


def test_equal_ones_are_in_their_order_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    few = random.normal(size=(3, 257)).astype(np.float32)
    features = few[np.arange(300) % 3]
    monkeypatch.setattr(module, "_FEATURES_A_BLOCK", 31)
    indices, cosines = nearest(features, few, 7)
    np.testing.assert_array_equal(indices, [[row + 3 * turn for turn in range(7)] for row in range(3)])
    assert (cosines == 1).all()


def test_what_single_precision_cannot_tell_apart_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: without room for the rounding of the quick product the wrong one is first."""
    random = np.random.default_rng(3)
    query = random.normal(size=(1, 4096))
    # All so near to each other that the product of single precision orders them by its rounding.
    features = (query + 3e-4 * random.normal(size=(400, 4096))).astype(np.float32)
    expected, _ = by_hand(features.astype(np.float64), query, 3)
    indices, _ = nearest(features, query, 3)
    np.testing.assert_array_equal(indices, expected)
    monkeypatch.setattr(module, "_ROUNDING", 0.0)
    assert not np.array_equal(nearest(features, query, 3)[0], expected)


def test_zeros_very_small_and_very_large_ones() -> None:
    features = np.array([[0, 0], [1e-30, 1e-30], [1e30, -1e30], [3, 4]], np.float32)
    indices, cosines = nearest(features, np.array([[1, 1], [0, 0]], np.float32), 4)
    assert indices.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    np.testing.assert_allclose(cosines[0], [1, 0.98994949, 0, 0], atol=1e-6)
    assert (cosines[1] == 0).all()


def test_what_cannot_be_compared_is_refused() -> None:
    row = np.ones((1, 2), np.float32)
    assert nearest(row, row[:0], 3)[0].shape == (0, 1)
    for features, queries, k in ((row[:0], row, 1), (row, row, 0), (row, row * np.nan, 1), (row * np.inf, row, 1)):
        with pytest.raises(ValueError, match=r"expected features|no finite number"):
            nearest(features, queries, k)
