"""Curves written to a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_cli.metrics import curves
from transfer_cli.metrics.scores import calibration_error

NAMES = ("a", "b", "never", "d")


def random_predictions(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.choice([0, 1, 3], count)
    logits = random.normal(size=(count, 4)) + 1.5 * np.eye(4)[truth]
    powers = np.exp(logits)
    return truth, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def points(rows: list[dict[str, str]], curve: str, name: str) -> np.ndarray:
    return np.array(
        [[float(row["x"]), float(row["y"])] for row in rows if (row["curve"], row["class"]) == (curve, name)]
    )


def test_write_curves_have_the_areas_of_scikit_learn(tmp_path: Path) -> None:
    truth, probabilities = random_predictions()
    curves.write(tmp_path / "curves.csv", truth, probabilities, NAMES)
    rows = rows_of(tmp_path / "curves.csv")
    for column, name in enumerate(NAMES):
        if name == "never":
            assert not len(points(rows, "roc", name))
            continue
        there = truth == column
        wrong, right = points(rows, "roc", name).T
        assert np.trapezoid(right, wrong) == pytest.approx(sk.roc_auc_score(there, probabilities[:, column]), abs=1e-5)
        recall, precision = points(rows, "precision-recall", name).T
        area = float(np.sum(np.diff(recall) * precision[1:]))
        assert area == pytest.approx(sk.average_precision_score(there, probabilities[:, column]), abs=1e-4)


def test_write_reliability_curve_has_the_calibration_error(tmp_path: Path) -> None:
    truth, probabilities = random_predictions()
    curves.write(tmp_path / "curves.csv", truth, probabilities, NAMES)
    bins = [row for row in rows_of(tmp_path / "curves.csv") if row["curve"] == "reliability"]
    counts = np.array([int(row["images"]) for row in bins])
    gaps = np.array([abs(float(row["x"]) - float(row["y"])) for row in bins])
    assert counts.sum() == len(truth)
    assert counts @ gaps / counts.sum() == pytest.approx(calibration_error(truth, probabilities), abs=1e-5)


def test_write_multi_label_has_no_reliability_curve(tmp_path: Path) -> None:
    truth, probabilities = random_predictions()
    curves.write(tmp_path / "curves.csv", np.eye(4, dtype=np.int64)[truth], probabilities, NAMES)
    rows = rows_of(tmp_path / "curves.csv")
    assert {row["curve"] for row in rows} == {"roc", "precision-recall"}
    curves.write(tmp_path / "single.csv", truth, probabilities, NAMES)
    assert rows == [row for row in rows_of(tmp_path / "single.csv") if row["curve"] != "reliability"]


def test_write_long_curve_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    truth, probabilities = random_predictions(20_000)
    curves.write(tmp_path / "curves.csv", truth, probabilities, NAMES)
    curve = points(rows_of(tmp_path / "curves.csv"), "roc", "a")
    assert len(curve) == 500
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(
        sk.roc_auc_score(truth == 0, probabilities[:, 0]), abs=1e-3
    )
