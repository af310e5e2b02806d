"""Scores that say nothing are undefined, with the reason; those of ordinary parts are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.errors import GateError
from transfer_cli.metrics.intervals import is_undefined
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import doubts, headline, summary
from transfer_cli.runs.accuracy_gate import check
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.score_limits import (
    labels_without_contrast,
    not_above_chance,
    without_copies,
    without_labels,
    without_one_class,
)

NAMES = ("cat", "dog", "fox")
Metrics = dict[str, dict[str, object]]


def certain(columns: list[int]) -> NDArray[np.float32]:
    return np.where(np.eye(3)[columns] > 0, 0.8, 0.1).astype(np.float32)


def limited(truth: list[int], predicted: list[int]) -> dict:
    of_part, probabilities = np.array(truth), certain(predicted)
    values = without_one_class("test", of_part, score(of_part, probabilities, None, NAMES), NAMES)
    return values | not_above_chance("test", of_part, values, NAMES)


def multi(truth: list[list[int]], probabilities: list[list[float]]) -> dict:
    table = np.array(truth)
    values = without_labels(table, score(table, np.array(probabilities, np.float32), np.full(3, 0.5), NAMES))
    return values | labels_without_contrast("test", table, NAMES) | not_above_chance("test", table, values, NAMES)


def test_limits_of_an_ordinary_part_change_nothing() -> None:
    truth = [0, 1, 2] * 10
    assert limited(truth, truth) == score(np.array(truth), certain(truth), None, NAMES)
    assert doubts(limited(truth, truth)) == []


@pytest.mark.parametrize("predicted", [[1, 1, 1, 1], [1, 0, 2, 1]], ids=["all right", "half right"])
def test_one_class_has_no_accuracy(predicted: list[int]) -> None:
    values = limited([1, 1, 1, 1], predicted)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "average_precision", "top_2_accuracy"):
        assert is_undefined(values[name])
    assert not is_undefined(values["recall/dog"])
    assert not is_undefined(values["log_loss"])
    reason = "all 4 test images are of the class dog, so they cannot show whether classes are confused"
    assert doubts(values) == [reason]
    assert summary("test", values) == "test  accuracy undefined (4 images)"
    assert headline(values) == "accuracy undefined"


def test_gate_refuses_an_undefined_accuracy() -> None:
    with pytest.raises(GateError, match=r"--min-accuracy 0.9 cannot be checked: all 4 test images are of the class"):
        check(0.9, {"test": limited([1] * 4, [1] * 4)}, ("test",), consequence="No model was written.", hint="")


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([0] * 6 + [1] * 4, [0] * 10, "of 0.600 is no better than always predicting the largest class, cat (0.600)"),
        ([0] * 6 + [1] * 4, [0] * 3 + [1] * 7, "of 0.700 may be no better than always predicting the largest class"),
        ([0, 1, 2] * 5, [1, 2, 0] * 5, "of 0.000 is no better than always predicting the largest class, cat (0.333)"),
    ],
)
def test_accuracy_that_chance_explains_is_named(truth: list[int], predicted: list[int], expected: str) -> None:
    values = limited(truth, predicted)
    assert is_undefined(values["accuracy_above_chance"])
    assert expected in doubts(values)[0]
    assert not is_undefined(values["accuracy"])


def test_labels_of_no_image_give_no_mean_average_precision() -> None:
    values = multi([[0, 0, 0]] * 5, [[0.2, 0.3, 0.4]] * 5)
    assert is_undefined(values["mean_average_precision"])
    assert doubts(values) == ["none of the 5 images has a label"]
    assert summary("test", values) == "test  mAP undefined, macro F1 undefined, micro F1 undefined (5 images)"


def test_label_without_positives_is_undefined_beside_others() -> None:
    truth = [[1, 0, 0], [0, 1, 0]] * 10
    values = multi(truth, [[0.9, 0.1, 0.3], [0.1, 0.9, 0.3]] * 10)
    assert values["mean_average_precision"]["value"] == 1
    assert is_undefined(values["average_precision/fox"])
    assert doubts(values) == ["no test image has the label fox"]


def test_label_of_every_image_is_undefined() -> None:
    values = multi([[1, 0, 0], [1, 1, 0]] * 10, [[0.9, 0.1, 0.3], [0.9, 0.9, 0.3]] * 10)
    assert values["average_precision/cat"]["reason"] == "every test image has the label cat"


def test_labels_of_every_image_are_no_better_than_guessing() -> None:
    values = multi([[1, 1, 1]] * 6, [[0.9, 0.8, 0.7]] * 6)
    assert doubts(values) == ["the test mean average precision of 1.000 is no better than guessing (1.000)"]


def test_without_copies_scores_the_other_images() -> None:
    truth, copies = np.array([0, 1, 2, 0]), np.array([True, True, False, False])
    added = without_copies("test", truth, certain([0, 1, 2, 1]), copies)
    values = score(truth, certain([0, 1, 2, 1])) | added
    assert added["accuracy_without_near_duplicates"]["value"] == 0.5
    assert summary("test", values).endswith(
        "; 2 of them have a near-duplicate among the training images: 0.500 without them"
    )
    assert without_copies("test", truth, certain([0, 1, 2, 1]), np.zeros(4, bool)) == {}


def test_without_copies_of_all_images_is_undefined() -> None:
    added = without_copies("test", np.array([0, 1]), certain([0, 1]), np.ones(2, bool))
    assert is_undefined(added["accuracy_without_near_duplicates"])


def test_undefined_metrics_are_null_in_files(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.complete({"test": limited([1] * 4, [1] * 4)})
    written = json.loads(run.metrics.read_text(), parse_constant=pytest.fail)["test"]
    assert written["accuracy"]["value"] is None
    assert written["accuracy"]["reason"].startswith("all 4 test images")
    assert is_undefined(run.read_metrics()["test"]["accuracy"])
