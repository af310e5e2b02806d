"""Intervals: replicates equal scikit-learn, and 95 % of the intervals cover the true value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_cli.metrics.intervals import LOG, LOGIT, PERCENTILE, Resamples, Scale, bootstrap_interval, proportion
from transfer_cli.metrics.metrics_table import replicate_metrics, score

Part = tuple[np.ndarray, np.ndarray]
METRICS: dict[str, Scale] = {
    "balanced_accuracy": PERCENTILE,
    "macro_precision": PERCENTILE,
    "macro_f1": PERCENTILE,
    "weighted_f1": PERCENTILE,
    "roc_auc": LOGIT,
    "average_precision": LOGIT,
    "log_loss": LOG,
    "brier": LOG,
}


def draw(random: np.random.Generator, count: int, classes: int = 4, strength: float = 2.0) -> Part:
    truth = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + strength * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, probabilities.astype(np.float32)


class Once(Resamples):
    """The images themselves, each once."""

    def blocks(self) -> Iterator[np.ndarray]:
        yield np.ones((self.images, 1), np.float32)


def replicates(part: Part, resamples: Resamples) -> dict[str, np.ndarray]:
    truth, probabilities = part
    return replicate_metrics(truth, probabilities, probabilities.argmax(axis=1), resamples)


def test_resamples_are_drawn_with_replacement_and_reproducible() -> None:
    weights = np.concatenate([*Resamples(50, 30).blocks()], axis=1)
    assert weights.shape == (50, 30)
    assert (weights.sum(axis=0) == 50).all()
    assert weights.max() > 2
    np.testing.assert_array_equal(weights, np.concatenate([*Resamples(50, 30).blocks()], axis=1))
    assert (weights != np.concatenate([*Resamples(50, 30, seed=1).blocks()], axis=1)).any()
    # The number of blocks does not change them.
    last = [*Resamples(100_000, 9).blocks()][-1][:, -1]
    random = np.random.default_rng(0)
    drawn = [np.bincount(random.integers(0, 100_000, 100_000), minlength=100_000) for _ in range(9)]
    np.testing.assert_array_equal(last, drawn[-1])
    sizes = ((400, 10), (10_000, 100), (50_000, 1000))
    assert [Resamples.affordable(*size).count for size in sizes] == [1000, 1000, 200]


def test_replicate_single_label_equals_scikit_learn_with_sample_weight() -> None:
    random = np.random.default_rng(3)
    truth, probabilities = draw(random, 60)
    # A rare class that is missing in some resamples, and equal probabilities, as k nearest neighbours give them.
    truth[truth == 3] = 2
    truth[:2] = 3
    probabilities = np.round(probabilities, 1).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    resamples = Resamples(60, 25)
    got = replicates((truth, probabilities), resamples)
    weights = np.concatenate([*resamples.blocks()], axis=1).astype(float)
    missing = 0
    for index in range(25):
        weight = weights[:, index]
        present = np.unique(truth[weight > 0])
        missing += len(present) < 4
        there = np.eye(4)[truth]
        options = {"labels": present, "zero_division": 0, "sample_weight": weight}
        expected = {
            "accuracy": sk.accuracy_score(truth, predicted, sample_weight=weight),
            "balanced_accuracy": sk.recall_score(truth, predicted, average="macro", **options),
            "macro_precision": sk.precision_score(truth, predicted, average="macro", **options),
            "macro_f1": sk.f1_score(truth, predicted, average="macro", **options),
            "weighted_precision": sk.precision_score(truth, predicted, average="weighted", **options),
            "weighted_f1": sk.f1_score(truth, predicted, average="weighted", **options),
            "brier": np.average(((probabilities - there) ** 2).sum(axis=1), weights=weight),
        }
        areas = {c: sk.roc_auc_score(truth == c, probabilities[:, c], sample_weight=weight) for c in present}
        precise = {
            c: sk.average_precision_score(truth == c, probabilities[:, c], sample_weight=weight) for c in present
        }
        expected["roc_auc"] = np.mean([*areas.values()])
        expected["average_precision"] = np.mean([*precise.values()])
        assert {name: got[name][index] for name in expected} == pytest.approx(expected, rel=1e-5)
        for column in range(4):
            result = [got[f"{name}/"][column, index] for name in ("roc_auc", "average_precision", "f1")]
            if column not in present:
                assert np.isnan(result).all()
                continue
            f1 = sk.f1_score(truth == column, predicted == column, sample_weight=weight, zero_division=0)
            assert result == pytest.approx([areas[column], precise[column], f1])
    assert missing


def test_replicate_multi_label_equals_scikit_learn_with_sample_weight() -> None:
    random = np.random.default_rng(4)
    truth = (random.random((50, 3)) < [0.5, 0.3, 0.1]).astype(np.int64)
    probabilities = (1 / (1 + np.exp(-random.normal(size=(50, 3)) - 2 * truth + 1))).astype(np.float32)
    predicted = (probabilities >= 0.5).astype(np.int64)
    resamples = Resamples(50, 10)
    got = replicate_metrics(truth, probabilities, predicted, resamples)
    for index, weight in enumerate(np.concatenate([*resamples.blocks()], axis=1).T):
        expected = {
            "accuracy": sk.accuracy_score(truth, predicted, sample_weight=weight),
            "micro_f1": sk.f1_score(truth, predicted, average="micro", sample_weight=weight),
            "macro_f1": sk.f1_score(truth, predicted, average="macro", sample_weight=weight),
            "average_precision": sk.average_precision_score(truth, probabilities, sample_weight=weight),
            "roc_auc": sk.roc_auc_score(truth, probabilities, sample_weight=weight),
        }
        assert {name: got[name][index] for name in expected} == pytest.approx(expected)


def coverage(times: int, count: int, images: int = 150) -> dict[str, float]:
    """Return how often the interval of each metric covers its value on a very large sample."""
    random = np.random.default_rng(1)
    true = replicates(draw(random, 300_000), Once(300_000))
    covered: Counter[str] = Counter()
    for _ in range(times):
        part = draw(random, images)
        drawn, own = replicates(part, Resamples(images, count)), replicates(part, Once(images))
        for name, scale in METRICS.items():
            low, high = bootstrap_interval(drawn[name], images, own[name][0], scale)
            assert low is not None
            assert high is not None
            covered[name] += low <= true[name][0] <= high
        interval = proportion(round(own["accuracy"][0] * images), images)
        assert interval["low"] is not None
        assert interval["high"] is not None
        covered["accuracy"] += interval["low"] <= true["accuracy"][0] <= interval["high"]
    return {name: covered[name] / times for name in [*METRICS, "accuracy"]}


def test_intervals_cover_the_true_value() -> None:
    shares = coverage(400, 400)
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


@pytest.mark.slow
def test_intervals_cover_the_true_value_in_long_simulations() -> None:
    shares = coverage(3000, 1000)
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def test_intervals_from_twice_the_images_cover_too_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    # Planted fault: twice as many images are drawn as there are, so the intervals are narrower by a third.
    blocks = Resamples.blocks

    def twice(self: Resamples) -> Iterator[np.ndarray]:
        return (block[:, ::2] + block[:, 1::2] for block in blocks(self) if block.shape[1] > 1)

    monkeypatch.setattr(Resamples, "blocks", twice)
    shares = coverage(100, 200)
    assert sum(share < 0.93 for share in shares.values()) >= 6, shares


def test_score_without_errors_has_no_bootstrap_interval() -> None:
    truth = np.array([0, 1] * 10)
    metrics = score(truth, np.eye(2, dtype=np.float32)[truth], class_names="ab")
    for name in ("balanced_accuracy", "macro_f1", "roc_auc", "f1/a", "average_precision/b"):
        assert metrics[name] == {"value": 1.0, "low": None, "high": None}
    assert metrics["accuracy"]["low"] == pytest.approx(0.839, abs=1e-3)
    assert metrics["recall/a"]["high"] == 1.0


def test_score_one_image_has_no_bootstrap_interval() -> None:
    metrics = score(np.array([1]), np.array([[0.4, 0.6]], np.float32), class_names="ab")
    assert metrics["log_loss"]["low"] is None
    assert metrics["accuracy"]["low"] == pytest.approx(0.2065, abs=1e-3)
