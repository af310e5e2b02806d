"""Deletion and insertion scores: correct maps are faithful, wrong ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.explain.example_models import HALVES, HalvesModel, single_view
from transfer_cli.data.resizing import RESIZE
from transfer_cli.data.views import View
from transfer_cli.explain.faithfulness import RANDOM_MAPS, Faithfulness, measure_faithfulness
from transfer_cli.explain.multi_view import ViewedImage
from transfer_cli.explain.occlusion import GRID

# Of a class out of ten, predicted with probability 0.93.
FAITHFUL = Faithfulness(0.93, 0.3, 0.8, (0.6, 0.7), (0.5, 0.6), 0.2, 0.7, min_probability=0.1)
NOT_FAITHFUL = {
    "class not detected": ({"probability": 1e-5}, "the model does not detect hat (0.0 %)"),
    "below a random guess": ({"probability": 0.09}, "the model does not detect hat (9.0 %)"),
    "no better than the best random map": ({"insertion": 0.2}, "not faithful (no better than random)"),
    "better by less than the tolerance": ({"insertion": 0.3 - 0.1 + 0.005}, "not faithful (no better than random)"),
    "deletion worse": ({"deletion": 0.66, "insertion": 0.99}, "not faithful (no better than random)"),
    "deletion equal": ({"deletion": 0.645, "insertion": 0.99}, "not faithful (no better than random)"),
    "empty map": ({"is_empty": True}, "the map marks no region for hat"),
}


def test_measure_faithfulness_correct_map_is_faithful_and_wrong_map_is_not() -> None:
    maps = np.zeros((3, GRID, GRID), np.float32)
    maps[0, 2:6, 1:3] = 1
    maps[1, :, 5:] = 1
    image = single_view(HALVES[0])
    left, wrong, empty = measure_faithfulness(HalvesModel(), image, maps, np.array([0, 0, 0]))
    assert left.is_faithful
    assert not wrong.is_faithful
    assert not empty.is_faithful
    assert left.deletion < left.random_deletion
    assert left.insertion > left.random_insertion
    assert left.blurred_probability < left.probability == pytest.approx(0.25, abs=1e-3)
    assert left.blurred_probability < left.random_blurred_probability
    assert (empty.is_empty, left.is_empty) == (True, False)
    assert empty.verdict("x") == "the map marks no region for x"


def test_measure_faithfulness_scores_are_areas_under_the_curve() -> None:
    """A model that measures how many pixels are left: the curve is a straight line, with an area of 0.5."""
    image = np.where(np.indices((64, 64)).sum(axis=0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)

    def sharpness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([[((one == 255) | (one == 0)).mean()] for one in images], np.float32)

    map_ = np.random.default_rng(0).random((1, 8, 8)).astype(np.float32)
    (result,) = measure_faithfulness(sharpness, single_view(image), map_, np.array([0]))
    assert (result.deletion, result.insertion) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert result.blurred_probability == pytest.approx(0.8, abs=0.01)
    assert result.random_blurred_probability == pytest.approx(0.8, abs=0.01)
    assert len(result.random_deletions) == RANDOM_MAPS


def test_measure_faithfulness_two_views_are_changed_together() -> None:
    """A model that takes the minimum over two views, for an image that is white in the region that the map marks."""

    def least(*views: NDArray[np.uint8]) -> NDArray[np.float32]:
        corners = [images[:, : images.shape[1] // 2, : images.shape[1] // 2] for images in views]
        return np.min([corner.mean(axis=(1, 2, 3)) / 255 for corner in corners], axis=0)[:, None].astype(np.float32)

    image = np.zeros((96, 96, 3), np.uint8)
    image[12:36, 12:36] = 255
    views = View(32, "squash"), View(48, "squash")
    viewed = ViewedImage(tuple(RESIZE[view.resize](image, view.size) for view in views), views)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 1:3, 1:3] = maps[1, 5:7, 5:7] = 1
    correct, wrong = measure_faithfulness(least, viewed, maps, np.array([0, 0]))
    assert correct.is_faithful
    assert not wrong.is_faithful

    # Planted fault: with an unchanged second view, the first view alone would decide.
    def first_only(small: NDArray[np.uint8]) -> NDArray[np.float32]:
        return least(small, np.repeat(viewed.images[1][None], len(small), axis=0))

    first = single_view(viewed.images[0])
    one_view = measure_faithfulness(first_only, first, maps, np.array([0, 0]))
    assert abs(one_view[0].insertion - correct.insertion) > 0.001


def test_faithfulness_summary_names_effect_and_scores() -> None:
    assert FAITHFUL.summary("shoes") == (
        "faithful",
        "blurring its top 20 %: p(shoes) 0.93 to 0.20 (random regions: to 0.70)",
        "deletion 0.30 (lower is better; random 0.65), insertion 0.80 (higher is better; random 0.55)",
    )


@pytest.mark.parametrize("name", NOT_FAITHFUL)
def test_faithfulness_fault_is_not_faithful(name: str) -> None:
    assert FAITHFUL.is_faithful
    assert replace(FAITHFUL, probability=0.1).is_faithful
    changes, verdict = NOT_FAITHFUL[name]
    faulty = replace(FAITHFUL, **changes)
    assert not faulty.is_faithful
    assert faulty.verdict("hat") == verdict
    assert faulty.summary("hat")[0] == verdict
