from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_cli.metrics import in_words, log_loss, score


@pytest.fixture
def part() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 150)
    logits = random.normal(size=(150, 4)) + 2 * np.eye(4)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, probabilities.astype(np.float32)


def test_figures_are_those_of_scikit_learn(part: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = part
    predicted = probabilities.argmax(axis=1)
    got = {name: figure["value"] for name, figure in score(truth, probabilities).items()}
    assert got == pytest.approx(
        {
            "images": 150,
            "accuracy": sk.accuracy_score(truth, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, average="macro"),
            "log_loss": sk.log_loss(truth, probabilities),
        }
    )


def test_wilson_interval() -> None:
    # 8 of 10: 0.490 to 0.943 (Wilson 1927; the same figures as statsmodels' proportion_confint).
    truth = np.zeros(10, int)
    probabilities = np.eye(2, dtype=np.float32)[[0] * 8 + [1] * 2]
    accuracy = score(truth, probabilities)["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.49016, 0.94332), abs=1e-5)


def test_a_part_without_some_classes() -> None:
    truth = np.array([0, 0, 2])
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0, 0.1, 0.9]], np.float32)
    got = score(truth, probabilities)
    assert got["balanced_accuracy"]["value"] == pytest.approx(0.75)
    assert log_loss(truth, probabilities) == pytest.approx(-np.log([0.9, 0.2, 0.9]).mean())
    assert in_words("test", got) == "test  accuracy 0.667 (95 % interval 0.208 to 0.939; 3 pictures)"
