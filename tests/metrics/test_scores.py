"""Metrics of a part, compared with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from transfer_cli.calibration.thresholds import fit_thresholds
from transfer_cli.metrics.intervals import MetricValue, proportion
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import calibration_error, log_loss, recalls_summary, summary


@pytest.fixture
def part() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 150)
    logits = random.normal(size=(150, 4)) + 2 * np.eye(4)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, probabilities.astype(np.float32)


def values(metrics: Mapping[str, MetricValue]) -> dict[str, float]:
    return {name: each["value"] for name, each in metrics.items()}


def test_score_single_label_equals_scikit_learn(part: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = part
    predicted = probabilities.argmax(axis=1)
    normal = probabilities.astype(float) / probabilities.sum(axis=1, keepdims=True, dtype=float)
    expected = {
        "images": 150,
        "accuracy": sk.accuracy_score(truth, predicted),
        "top_2_accuracy": sk.top_k_accuracy_score(truth, probabilities, k=2),
        "top_3_accuracy": sk.top_k_accuracy_score(truth, probabilities, k=3),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "macro_precision": sk.precision_score(truth, predicted, average="macro"),
        "macro_f1": sk.f1_score(truth, predicted, average="macro"),
        "weighted_precision": sk.precision_score(truth, predicted, average="weighted"),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted"),
        "roc_auc": sk.roc_auc_score(truth, probabilities.astype(float), multi_class="ovr"),
        "average_precision": sk.average_precision_score(np.eye(4)[truth], probabilities),
        "log_loss": sk.log_loss(truth, probabilities),
        "brier": sk.brier_score_loss(truth, normal, scale_by_half=False),
        "expected_calibration_error": calibration_error(truth, probabilities),
    }
    assert values(score(truth, probabilities)) == pytest.approx(expected, rel=1e-5)
    names = "abcd"
    of_each = {
        "precision": sk.precision_score(truth, predicted, average=None),
        "recall": sk.recall_score(truth, predicted, average=None),
        "f1": sk.f1_score(truth, predicted, average=None),
        "roc_auc": sk.roc_auc_score(np.eye(4)[truth], probabilities, average=None),
        "average_precision": sk.average_precision_score(np.eye(4)[truth], probabilities, average=None),
        "support": np.bincount(truth),
    }
    for kind, four in of_each.items():
        expected |= {f"{kind}/{name}": value for name, value in zip(names, four, strict=True)}
    got = score(truth, probabilities, class_names=names)
    assert values(got) == pytest.approx(expected, rel=1e-5)
    without = {name for name, each in got.items() if each["low"] is None}
    assert without == {"images", *(f"support/{name}" for name in names)}
    for name in got.keys() - without:
        low, value, high = got[name]["low"], got[name]["value"], got[name]["high"]
        assert low is not None
        assert high is not None
        assert low < value < high, name


def test_score_shuffled_truth_is_much_lower(part: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = part
    shuffled = np.random.default_rng(1).permutation(truth)
    correct, wrong = score(truth, probabilities), score(shuffled, probabilities)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc"):
        high, low = wrong[name]["high"], correct[name]["low"]
        assert high is not None
        assert low is not None
        assert high < low
    assert wrong["roc_auc"]["value"] == pytest.approx(0.5, abs=0.1)


def test_calibration_error_two_bins() -> None:
    # Guo et al. 2017, equation 3: two bins, 3 of 4 correct at 0.9 (off by 0.15) and 1 of 2 correct at 0.6 (off by 0.1).
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2, np.float32)
    truth = np.array([0, 0, 0, 1, 0, 1])
    assert calibration_error(truth, probabilities) == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)


def test_score_accuracy_has_the_wilson_interval() -> None:
    # 8 of 10: 0.490 to 0.943 (Wilson 1927; the same values as statsmodels' proportion_confint).
    truth = np.zeros(10, int)
    probabilities = np.eye(2, dtype=np.float32)[[0] * 8 + [1] * 2]
    accuracy = score(truth, probabilities)["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.49016, 0.94332), abs=1e-5)


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 8), (282, 372)])
def test_proportion_interval_equals_scipy(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="wilson")
    got = proportion(right, count)
    assert (got["low"], got["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert got["value"] == right / count


def test_score_missing_classes_are_left_out() -> None:
    truth = np.array([0, 0, 2])
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0, 0.1, 0.9]], np.float32)
    got = score(truth, probabilities, class_names="abc")
    assert got["balanced_accuracy"]["value"] == pytest.approx(0.75)
    assert got["macro_f1"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert got["roc_auc"]["value"] == 1.0
    assert got["support/b"]["value"] == 0
    assert got["precision/b"]["value"] == 0.0
    assert not {"recall/b", "f1/b", "roc_auc/b", "average_precision/b"} & got.keys()
    assert log_loss(truth, probabilities) == pytest.approx(-np.log([0.9, 0.2, 0.9]).mean())
    assert summary("test", got) == "test  accuracy 0.667 (95 % interval 0.208 to 0.939; 3 images)"


def test_summary_of_uneven_classes_has_the_mean_accuracy_per_class() -> None:
    truth = np.array([0] * 9 + [1] * 3)
    probabilities = np.eye(2, dtype=np.float32)[[0] * 9 + [1, 0, 0]]
    text = summary("test", score(truth, probabilities, class_names="ab"))
    assert text == "test  accuracy 0.833 (95 % interval 0.552 to 0.953; 12 images), mean accuracy per class 0.667"
    even = summary("test", score(truth[4:], probabilities[4:], class_names="ab"))
    assert "per class" not in even


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    truth = (random.random((200, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(np.int64)
    logits = random.normal(size=(200, 4)) + 2 * truth - 1
    return truth, (1 / (1 + np.exp(-logits))).astype(np.float32)


def test_score_multi_label_equals_scikit_learn(labels: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = labels
    thresholds = np.array([0.5, 0.4, 0.3, 0.5])
    predicted = (probabilities >= thresholds).astype(int)
    got = score(truth, probabilities, thresholds, "abcd")
    # No image has the last label, so its metrics are undefined.
    precisions = [sk.average_precision_score(truth[:, column], probabilities[:, column]) for column in range(3)]
    areas = [sk.roc_auc_score(truth[:, column], probabilities[:, column]) for column in range(3)]
    expected = {
        "images": 200,
        "mean_average_precision": np.mean(precisions),
        "roc_auc": np.mean(areas),
        "exact_matches": sk.accuracy_score(truth, predicted),
        "log_loss": np.mean([sk.log_loss(truth[:, c], probabilities[:, c], labels=[0, 1]) for c in range(4)]),
        "brier": ((truth - probabilities) ** 2).mean(),
    }
    kinds = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    for kind, of_sklearn in kinds.items():
        expected[f"micro_{kind}"] = of_sklearn(truth, predicted, average="micro")
        for average in ("macro", "weighted"):
            expected[f"{average}_{kind}"] = of_sklearn(truth[:, :3], predicted[:, :3], average=average)
    assert values({name: each for name, each in got.items() if "/" not in name}) == pytest.approx(expected)
    for column, name in enumerate("abc"):
        for kind, of_sklearn in kinds.items():
            assert got[f"{kind}/{name}"]["value"] == pytest.approx(of_sklearn(truth[:, column], predicted[:, column]))
        assert got[f"roc_auc/{name}"]["value"] == pytest.approx(areas[column], abs=1e-12)
        assert got[f"average_precision/{name}"]["value"] == pytest.approx(precisions[column], abs=1e-12)
    assert got["support/d"]["value"] == 0
    assert got["mean_average_precision"]["low"] is not None
    assert summary("test", got).startswith(f"test  mAP {np.mean(precisions):.3f}, macro F1 ")


def test_fit_thresholds_maximise_f1(labels: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = labels
    thresholds = fit_thresholds(truth, probabilities)
    assert thresholds[3] == 0.5
    for column in range(3):
        scores = [sk.f1_score(truth[:, column], probabilities[:, column] >= each) for each in probabilities[:, column]]
        assert sk.f1_score(truth[:, column], probabilities[:, column] >= thresholds[column]) == pytest.approx(
            max(scores)
        )
    assert fit_thresholds(np.ones((5, 1), int), np.full((5, 1), 0.2, np.float32)).tolist() == [0.5]


def test_score_no_image_with_a_label_is_finite() -> None:
    got = score(np.zeros((3, 2), int), np.full((3, 2), 0.2, np.float32), np.array([0.5, 0.5]))
    assert all(np.isfinite(each["value"]) for each in got.values())
    assert got["exact_matches"]["value"] == 1


def test_recalls_summary_starts_with_the_lowest(part: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = part
    expected = sk.recall_score(truth, probabilities.argmax(axis=1), average=None)
    worst = "abcd"[int(np.argmin(expected))]
    metrics = score(truth, probabilities, class_names="abcd")
    assert recalls_summary("test", metrics).startswith(f"test  recall per class: {worst} {expected.min():.2f}, ")
