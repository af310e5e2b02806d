"""Nearest neighbours by cosine similarity, compared with a computation of all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.features import nearest as module
from transfer_cli.features.nearest import nearest


def all_pairs(features: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest from every cosine similarity, computed pair by pair in double precision."""
    cosines = np.array(
        [[np.float32(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) for two in features] for one in queries]
    )
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("chunk_mib", [64, 0.001])
@pytest.mark.parametrize("k", [1, 5, 60, 100])
def test_nearest_agrees_with_all_pairs(k: int, chunk_mib: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    features, queries = random.normal(size=(60, 17)), random.normal(size=(23, 17))
    expected, values = all_pairs(features, queries, k)
    monkeypatch.setattr(module, "_CHUNK_MIB", chunk_mib)
    indices, cosines = nearest(features.astype(np.float32), queries.astype(np.float32), k)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(cosines, values, atol=1e-5)
    assert cosines.dtype == np.float32


def test_nearest_ties_are_in_row_order() -> None:
    random = np.random.default_rng(2)
    few = random.normal(size=(3, 257)).astype(np.float32)
    features = few[np.arange(30) % 3]
    indices, cosines = nearest(features, few, 10)
    np.testing.assert_array_equal(indices, [[row + 3 * turn for turn in range(10)] for row in range(3)])
    assert (cosines == 1).all()


def test_nearest_with_zeros_very_small_and_very_large_features() -> None:
    features = np.array([[0, 0], [1e-30, 1e-30], [1e30, -1e30], [3, 4]], np.float32)
    indices, cosines = nearest(features, np.array([[1, 1], [0, 0]], np.float32), 4)
    assert indices.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    np.testing.assert_allclose(cosines[0], [1, 0.98994949, 0, 0], atol=1e-5)
    assert (cosines[1] == 0).all()


def test_nearest_invalid_input_raises() -> None:
    row = np.ones((1, 2), np.float32)
    assert nearest(row, row[:0], 3)[0].shape == (0, 1)
    for features, queries, k in ((row[:0], row, 1), (row, row, 0), (row, row * np.nan, 1), (row * np.inf, row, 1)):
        with pytest.raises(ValueError, match=r"expected features|expected a number|not finite"):
            nearest(features, queries, k)
