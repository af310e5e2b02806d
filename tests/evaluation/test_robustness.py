"""The accuracy under perturbations is that of the perturbed images, with paired intervals, in any order of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.catalog.perturbations import PERTURBATIONS, VARIANTS
from transfer_cli.data.views import View
from transfer_cli.evaluation.robustness import HEADER, Robustness
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.perturbed_model import PerturbedModel

NUMBER = {(row.name, strength): number for number, (row, strength) in enumerate(VARIANTS)}


class BrightModel(AbstractModel):
    """Predicts `bright` if the mean of the pixels in all views is above 100."""

    def __init__(self, *sizes: int, thresholds: tuple[float, ...] | None = None) -> None:
        super().__init__(("dark", "bright"), [View(size, "squash") for size in sizes], thresholds)

    def predict_views(self, views: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        means = np.mean([view.mean(axis=(1, 2, 3)) for view in views], axis=0)
        bright = np.clip(0.5 + (means - 100) / 200, 0, 1)
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)


def images_of(levels: Sequence[int], size: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    noise = random.integers(0, 10, (len(levels), size, size, 3))
    return (np.array(levels)[:, None, None, None] + noise).astype(np.uint8)


def test_darkness_is_what_a_model_of_brightness_fails_on() -> None:
    model = PerturbedModel(BrightModel(16))
    levels = [20] * 30 + [150] * 30
    images = images_of(levels, 16)
    clean = np.concatenate([model.predict_views([images[start : start + 16]]) for start in range(0, 60, 16)])
    np.testing.assert_array_equal(clean, BrightModel(16).predict_views([images]))
    truth = np.array([0] * 30 + [1] * 30)
    predicted = [model.predicted(number) for number in range(len(VARIANTS))]
    robustness = Robustness.of("test", 0, truth, clean.argmax(axis=1), predicted)
    assert robustness.accuracy["value"] == 1
    found = {(row.perturbation, row.strength): row for row in robustness.rows}
    dark = found["darkness", 50]
    assert (dark.accuracy["value"], dark.difference["value"]) == (0.5, -0.5)
    low, high = dark.difference["low"], dark.difference["high"]
    assert low is not None
    assert high is not None
    assert -0.7 < low < -0.5 < high < -0.3
    # No image changes sides: the bootstrap cannot tell how rare that is.
    assert found["darkness", 30].difference == {"value": 0.0, "low": None, "high": None}
    assert found["blur", 4].accuracy["value"] == 1
    assert len(robustness.table()) == len(VARIANTS)
    assert all(len(row) == len(HEADER) for row in robustness.table())
    lines = robustness.summary()
    assert lines[0] == "accuracy on test without perturbation 1.000 (n = 60)"
    assert lines[6].startswith("darkness 30 % 1.000, 50 % 0.500, 70 % 0.500, 90 % 0.500; at 50 %: -50.0 points (-")
    assert len(lines) == 1 + len(PERTURBATIONS)


def test_perturbation_depends_on_seed_and_image_not_on_its_place() -> None:
    images = images_of([90, 96, 99, 104], 16)

    def shown(seed: int, order: list[int]) -> list[NDArray[np.uint8]]:
        seen: list[NDArray[np.uint8]] = []

        class Recorder(BrightModel):
            def predict_views(self, views: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
                seen.append(views[0])
                return super().predict_views(views)

        PerturbedModel(Recorder(16), seed).predict_views([images[order]])
        return seen

    straight, turned, other = shown(1, [0, 1, 2, 3]), shown(1, [3, 2, 1, 0]), shown(2, [0, 1, 2, 3])
    assert len(straight) == 1 + len(VARIANTS)
    for one, two in zip(straight, turned, strict=True):
        np.testing.assert_array_equal(one, two[::-1])
    noise = NUMBER["noise", 12]
    assert (straight[noise] != other[noise]).any()


def test_views_are_perturbed_alike_and_labels_are_compared_one_by_one() -> None:
    model = PerturbedModel(BrightModel(16, 32, thresholds=(0.5, 0.5)))
    views = [images_of([20, 150, 150], size) for size in (16, 32)]
    probabilities = model.predict_views(views)
    assert probabilities.shape == (3, 2)
    dark = model.predicted(NUMBER["darkness", 90])
    assert dark.tolist() == [[True, False]] * 3
    truth = np.array([[1, 0], [0, 1], [1, 1]])
    predicted = [model.predicted(number) for number in range(len(VARIANTS))]
    robustness = Robustness.of("all", 0, truth, probabilities >= 0.5, predicted)
    assert robustness.accuracy["value"] == pytest.approx(2 / 3)
    assert robustness.rows[NUMBER["darkness", 90]].accuracy["value"] == pytest.approx(1 / 3)
