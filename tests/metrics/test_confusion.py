"""Confusion matrices and points of curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_cli.errors import InputError
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.curves import precision_recall, reliability, roc
from transfer_cli.metrics.scores import calibration_error

NAMES = ("class", "t-shirt, long", "3")


def test_confusion_equals_scikit_learn_and_is_read_as_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, (2, 60))
    confusion = Confusion.of(truth, predicted, NAMES)
    np.testing.assert_array_equal(confusion.counts, sk.confusion_matrix(truth, predicted))
    confusion.write(tmp_path / "confusion.csv")
    header, first = (tmp_path / "confusion.csv").read_text().splitlines()[:2]
    assert header == 'class,predicted_class,"predicted_t-shirt, long",predicted_3'
    assert first == f"class,{','.join(map(str, confusion.counts[0]))}"
    again = Confusion.read(tmp_path / "confusion.csv")
    assert again.class_names == NAMES
    np.testing.assert_array_equal(again.counts, confusion.counts)


def test_summary_names_the_most_frequent_confusions() -> None:
    confusion = Confusion(NAMES, np.array([[5, 2, 0], [7, 9, 1], [0, 1, 3]]))
    assert confusion.pairs()[:2] == [("t-shirt, long", "class", 7), ("class", "t-shirt, long", 2)]
    assert confusion.summary("test") == (
        "test  most frequent confusions (true → predicted): t-shirt, long → class 7, class → t-shirt, long 2, "
        "t-shirt, long → 3 1, ..."
    )
    assert Confusion(NAMES, np.eye(3, dtype=np.int64)).summary("test") is None


@pytest.mark.parametrize("text", ["", "class,predicted_a\na,x\n", "class,a\na,1\n", "class,predicted_a\na,1\nb,2\n"])
def test_read_invalid_confusion_raises(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(InputError, match=r"odd\.csv"):
        Confusion.read(tmp_path / "odd.csv")


def test_curve_points_have_the_areas_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 200)
    logits = random.normal(size=(200, 3)) + np.eye(3)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    there, scores = truth == 1, probabilities[:, 1]
    points = roc(there, scores)
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(sk.roc_auc_score(there, scores))
    points = precision_recall(there, scores)
    assert points[0].tolist() == [0, 1]
    assert (np.diff(points[:, 0]) * points[1:, 1]).sum() == pytest.approx(
        sk.average_precision_score(there, scores), abs=0.01
    )
    confusion = reliability(truth, probabilities)
    assert confusion.images.sum() == 200
    error = (np.abs(confusion.accuracy - confusion.confidence) * confusion.images).sum() / 200
    assert error == pytest.approx(calibration_error(truth, probabilities))
