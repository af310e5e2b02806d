"""What test-time augmentation brought has its sign, and an interval that is paired."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.test_comparison import draw
from transfer_cli.evaluation.comparison import mcnemar
from transfer_cli.evaluation.tta_gain import Gain
from transfer_cli.inference.tta_cost import TtaCost

NAMES = ("a", "b", "c")
COST = TtaCost(2, 1.5, 0.8)


def gain(augmented: np.ndarray, without: np.ndarray, truth: np.ndarray, thresholds: np.ndarray | None = None) -> Gain:
    return Gain.of("flip", "unseen", NAMES, truth, augmented, without, COST, thresholds)


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, two = draw(np.random.default_rng(2), 400)
    return two.probabilities, one.probabilities, one.truth


def test_a_gain_and_a_loss_are_told_apart(answers: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = answers
    found, lost = gain(better, worse, truth), gain(worse, better, truth)
    right = [(each.argmax(axis=1) == truth) for each in (better, worse)]
    assert right[0].mean() > right[1].mean()
    accuracy = found.differences["accuracy"]
    assert accuracy["value"] == pytest.approx(right[0].mean() - right[1].mean())
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]  # type: ignore[operator]
    # Paired: narrower than what the two would give apart.
    wide = sum(each["accuracy"]["high"] - each["accuracy"]["low"] for each in (found.figures, found.figures_without))
    assert accuracy["high"] - accuracy["low"] < 0.75 * wide  # type: ignore[operator]
    assert found.p == mcnemar(*right) == lost.p
    for name, figure in found.differences.items():
        turned = lost.differences[name]
        assert (turned["value"], turned["low"], turned["high"]) == pytest.approx(
            (-figure["value"], -figure["high"], -figure["low"])  # type: ignore[operator]
        )
    assert found.differences["log_loss"]["value"] < 0 < lost.differences["log_loss"]["value"]
    assert lost.figures == found.figures_without


def test_what_a_person_is_told(answers: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = answers
    cost, brought = gain(better, worse, truth).summary()
    assert cost == "flip: 2 passes a picture, 1.5 ms of the network instead of 0.8"
    assert brought.startswith("flip on unseen: accuracy 0.")
    assert "points (+" in brought or "points (-" in brought
    assert ("not distinguishable at n = 400" in brought) == (gain(better, worse, truth).p >= 0.05)
    same = gain(worse, worse, truth).summary()[1]
    assert "+0.0 points, not distinguishable at n = 400; log loss" in same
    assert gain(worse, better, truth).summary()[1].split(": ")[2].startswith("-")


def test_it_can_be_written(answers: tuple[np.ndarray, ...]) -> None:
    facts = gain(*answers).to_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cost"] == {"passes": 2, "milliseconds": 1.5, "milliseconds_without": 0.8}


def test_several_labels_are_right_all_together(answers: tuple[np.ndarray, ...]) -> None:
    better, worse, truth = answers
    thresholds = np.array([0.3, 0.4, 0.35])
    indicators = np.eye(3, dtype=np.int64)[truth]
    found = gain(better, worse, indicators, thresholds)
    for figures, given in ((found.figures, better), (found.figures_without, worse)):
        right = ((given >= thresholds) == indicators).all(axis=1)
        assert figures["accuracy"]["value"] == pytest.approx(right.mean())
    other = gain(better, worse, indicators, np.full(3, 0.9))
    assert other.figures["accuracy"] != found.figures["accuracy"]
