from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_cli.metrics import RECALL, fit_thresholds, in_words, log_loss, recalls, recalls_in_words, score


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


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    truth = (random.random((200, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(np.int64)
    logits = random.normal(size=(200, 4)) + 2 * truth - 1
    return truth, (1 / (1 + np.exp(-logits))).astype(np.float32)


def test_figures_of_labels_are_those_of_scikit_learn(labels: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = labels
    thresholds = np.array([0.5, 0.4, 0.3, 0.5])
    predicted = (probabilities >= thresholds).astype(int)
    got = score(truth, probabilities, thresholds)
    # The last label is on no picture: nothing can be found of it.
    precisions = [sk.average_precision_score(truth[:, column], probabilities[:, column]) for column in range(3)]
    assert {name: figure["value"] for name, figure in got.items()} == pytest.approx(
        {
            "images": 200,
            "mean_average_precision": np.mean(precisions),
            "micro_f1": sk.f1_score(truth, predicted, average="micro"),
            "macro_f1": sk.f1_score(truth[:, :3], predicted[:, :3], average="macro"),
            "exact_matches": sk.accuracy_score(truth, predicted),
            "log_loss": np.mean([sk.log_loss(truth[:, c], probabilities[:, c], labels=[0, 1]) for c in range(4)]),
        }
    )
    assert in_words("test", got).startswith(f"test  mAP {np.mean(precisions):.3f}, macro F1 ")


def test_thresholds_are_the_best_there_are(labels: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = labels
    found = fit_thresholds(truth, probabilities)
    assert found[3] == 0.5
    for column in range(3):
        of_each = [sk.f1_score(truth[:, column], probabilities[:, column] >= bar) for bar in probabilities[:, column]]
        assert sk.f1_score(truth[:, column], probabilities[:, column] >= found[column]) == pytest.approx(max(of_each))
    assert fit_thresholds(np.ones((5, 1), int), np.full((5, 1), 0.2, np.float32)).tolist() == [0.5]


def test_a_part_in_which_no_picture_has_a_label() -> None:
    got = score(np.zeros((3, 2), int), np.full((3, 2), 0.2, np.float32), np.array([0.5, 0.5]))
    assert all(np.isfinite(figure["value"]) for figure in got.values())
    assert got["exact_matches"]["value"] == 1


def test_recalls(part: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = part
    predicted = probabilities.argmax(axis=1)
    found = recalls(truth, predicted, ["a", "b", "c", "d", "never there"])
    expected = sk.recall_score(truth, predicted, average=None)
    assert {name: figure["value"] for name, figure in found.items()} == pytest.approx(
        dict(zip("abcd", expected, strict=True))
    )
    figures = {f"{RECALL}{name}": figure for name, figure in found.items()}
    worst = "abcd"[int(np.argmin(expected))]
    assert recalls_in_words("test", figures).startswith(f"test  found of each class: {worst} {expected.min():.2f}, ")
