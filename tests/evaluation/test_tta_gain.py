"""The gain from test-time augmentation has the right sign and a paired interval."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.test_comparison import draw
from transfer_cli.evaluation.comparison import mcnemar
from transfer_cli.evaluation.tta_gain import TtaGain
from transfer_cli.inference.tta import TtaCost

NAMES = ("a", "b", "c")
COST = TtaCost(2, 1.5, 0.8)


def gain(
    augmented: np.ndarray, without: np.ndarray, truth: np.ndarray, thresholds: np.ndarray | None = None
) -> TtaGain:
    return TtaGain.of("flip", "unseen", NAMES, truth, augmented, without, COST, thresholds)


@pytest.fixture(scope="module")
def predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, two = draw(np.random.default_rng(2), 400)
    return two.probabilities, one.probabilities, one.truth


def test_of_gain_and_loss_have_opposite_signs(predictions: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = predictions
    found, lost = gain(better, worse, truth), gain(worse, better, truth)
    right = [(each.argmax(axis=1) == truth) for each in (better, worse)]
    assert right[0].mean() > right[1].mean()
    accuracy = found.differences["accuracy"]
    assert accuracy["value"] == pytest.approx(right[0].mean() - right[1].mean())
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]  # type: ignore[operator]
    # Paired: narrower than the two separate intervals.
    wide = sum(each["accuracy"]["high"] - each["accuracy"]["low"] for each in (found.metrics, found.metrics_without))
    assert accuracy["high"] - accuracy["low"] < 0.75 * wide  # type: ignore[operator]
    assert found.p == mcnemar(*right) == lost.p
    for name, figure in found.differences.items():
        turned = lost.differences[name]
        assert (turned["value"], turned["low"], turned["high"]) == pytest.approx(
            (-figure["value"], -figure["high"], -figure["low"])  # type: ignore[operator]
        )
    assert found.differences["log_loss"]["value"] < 0 < lost.differences["log_loss"]["value"]
    assert lost.metrics == found.metrics_without


def test_summary_reports_cost_and_gain(predictions: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = predictions
    cost, line = gain(better, worse, truth).summary()
    assert cost == "flip: 2 passes per image, 1.5 ms/image in the network instead of 0.8"
    assert line.startswith("flip on unseen: accuracy 0.")
    assert "points (+" in line or "points (-" in line
    assert ("not distinguishable at n = 400" in line) == (gain(better, worse, truth).p >= 0.05)
    same = gain(worse, worse, truth).summary()[1]
    assert "+0.0 points, not distinguishable at n = 400; log loss" in same
    assert gain(worse, better, truth).summary()[1].split(": ")[2].startswith("-")


def test_to_dict_survives_json(predictions: tuple[np.ndarray, ...]) -> None:
    facts = gain(*predictions).to_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cost"] == {"passes": 2, "milliseconds": 1.5, "milliseconds_without": 0.8}


def test_of_multi_label_accuracy_requires_all_labels_correct(predictions: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = predictions
    thresholds = np.array([0.3, 0.4, 0.35])
    indicators = np.eye(3, dtype=np.int64)[truth]
    found = gain(better, worse, indicators, thresholds)
    for metrics, given in ((found.metrics, better), (found.metrics_without, worse)):
        right = ((given >= thresholds) == indicators).all(axis=1)
        assert metrics["accuracy"]["value"] == pytest.approx(right.mean())
    other = gain(better, worse, indicators, np.full(3, 0.9))
    assert other.metrics["accuracy"] != found.metrics["accuracy"]
