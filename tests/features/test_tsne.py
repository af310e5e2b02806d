from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.features import tsne
from transfer_cli.features.nearest import nearest
from transfer_cli.features.tsne import layout, perplexity_of
from transfer_cli.progress import Silent


def groups(each: int, count: int = 4, width: int = 24) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of classes that overlap a little, and the class of each."""
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(count), each)
    centres = random.normal(size=(count, width))
    return (centres[truth] + 0.9 * random.normal(size=(len(truth), width))).astype(np.float32), truth


def neighbour_accuracy(places: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return how often the nearest other point has the same class."""
    ways = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(ways, np.inf)
    return float((truth[ways.argmin(axis=1)] == truth).mean())


def test_layout_keeps_nearest_neighbours() -> None:
    features, truth = groups(40)
    places = layout(features, 0)
    itself_and_next, _ = nearest(features, features, 2)
    in_features = float((truth[itself_and_next[:, 1]] == truth).mean())
    assert in_features > 0.85
    assert neighbour_accuracy(places, truth) > in_features - 0.05
    # Control: the same positions, assigned to other images.
    assert neighbour_accuracy(np.random.default_rng(0).permutation(places), truth) < 0.5


def test_perplexity_of_is_bounded_by_the_number_of_images() -> None:
    assert perplexity_of(1000) == 30
    assert perplexity_of(31) == 10
    assert perplexity_of(31, 5) == 5
    with pytest.raises(InputError, match=r"perplexity 11 is too large for 31 images\. Expected at most 10"):
        perplexity_of(31, 11)


def test_layout_depends_on_the_perplexity() -> None:
    features, _ = groups(20)
    np.testing.assert_array_equal(layout(features, 0, perplexity=79 / 3), layout(features, 0))
    assert not np.array_equal(layout(features, 0, perplexity=5), layout(features, 0))


def test_layout_is_reproducible() -> None:
    features, _ = groups(20)
    places = layout(features, 3)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(layout(features, 3), places)
    assert not np.array_equal(layout(features[::-1], 3), places)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_layout_of_few_images_has_distinct_positions(count: int) -> None:
    features, _ = groups(3)
    places = layout(features[:count], 0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_layout_of_equal_images_and_narrow_features_is_finite() -> None:
    features, _ = groups(8)
    for odd in (
        np.ones((12, 5), np.float32),
        np.zeros((12, 5), np.float32),
        features[:, :1],
        features[[0] * 9 + [1] * 9],
    ):
        assert np.isfinite(layout(odd, 0)).all()


def test_layout_beyond_the_sample_uses_nearest_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = groups(60)
    monkeypatch.setattr(tsne, "SAMPLE", 100)
    notes: list[str] = []

    class Told(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    places = layout(features, 0, Told())
    assert notes == [
        "t-SNE of a random sample of 100 of 240 images; the others are placed next to their nearest neighbours"
    ]
    assert np.isfinite(places).all()
    assert neighbour_accuracy(places, truth) > 0.8
