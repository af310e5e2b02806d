from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.untrained_runs import NAMES, planted
from transfer_cli.data.predictions import Predictions
from transfer_cli.rendering.svg_charts import Chart, Line, ticks
from transfer_cli.report.calibration import charts_of
from transfer_cli.report.history import TrainingHistory
from transfer_cli.runs.completed_run import Answered, FinishedRun


def test_places_on_a_chart() -> None:
    chart = Chart("t", "w", ("x", "y"), [], ((0, 10), (0, 1)))
    left, top, right, bottom = chart.frame
    assert (chart.x(0), chart.x(10)) == (left, right)
    assert (chart.y(0), chart.y(1)) == (bottom, top)
    assert chart.y(2) == top  # what does not fit stays within
    assert chart.path(Line("l", [(0, 0), (10, 1)])) == f"{float(left)},{float(bottom)} {float(right)},{float(top)}"
    powers = Chart("t", "w", ("x", "y"), [], ((0.01, 10), (0, 1)), log=True)
    assert [text for _, text in powers.x_ticks] == ["0.01", "0.1", "1", "10"]
    assert powers.x(10) - powers.x(1) == pytest.approx(powers.x(1) - powers.x(0.1), abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 18, [0, 5, 10, 15]), (0.47, 1, [0.6, 0.8, 1]), (3, 3, [3])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 5) == expected


def answered(truth: list[int], given: list[list[float]]) -> Answered:
    paths = tuple(f"{number}.png" for number in range(len(truth)))
    predictions = Predictions(paths, ("a", "b"), np.array(given, np.float32))
    return Answered(np.arange(len(truth)), np.array(truth), predictions)


def test_reliability_and_curves_of_answers_that_are_known() -> None:
    part = answered([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    reliability, roc, precision = charts_of(part, ("a", "b"))
    line = reliability.lines[1]
    assert [point[0] for point in line.points] == pytest.approx([0.7, 0.9])
    assert [point[1] for point in line.points] == pytest.approx([1, 2 / 3], abs=1e-6)
    assert "90 % sure: 67 % right (3)" in reliability.words
    assert roc.lines[0].points[0] == (0, 0)
    assert roc.lines[0].points[-1] == (1, 1)
    assert {line.label for line in roc.lines} == {"a 0.75", "b 0.75", "at random"}
    assert {line.label for line in precision.lines} == {"a 0.67", "b 0.75"}


def test_a_class_that_does_not_occur_has_no_curve() -> None:
    part = answered([0, 0], [[0.9, 0.1], [0.2, 0.8]])
    assert [chart.title for chart in charts_of(part, ("a", "b"))] == ["is it as sure as it is right?"]


def test_the_course_of_an_extract(tmp_path: Path) -> None:
    course = TrainingHistory.read(FinishedRun.read(planted(tmp_path).path))
    (chart,) = course.charts
    assert chart.log
    assert [mark.label for mark in chart.marks] == ["chosen: 0.1"]
    assert list(chart.lines[0].points) == [(0.01, 0.9), (0.1, 0.6), (1, 0.7)]
    assert NAMES == ("blue", "green", "red")


def test_the_course_of_a_finetune(finetuned: Path) -> None:
    run = FinishedRun.read(finetuned)
    course = TrainingHistory.read(run)
    assert [epoch.epoch for epoch in course.epochs] == [0, 1, 2, 3, 4]
    assert course.best is not None
    # The epoch that was kept has the name of its checkpoint, and is what val was scored by.
    (kept,) = (finetuned / "checkpoints").glob("best-*.npz")
    assert course.best.epoch == int(kept.stem.removeprefix("best-"))
    assert course.best.val_accuracy == pytest.approx(run.metrics["val"]["accuracy"]["value"], abs=1e-5)
    accuracy, loss = course.charts
    assert (accuracy.title, loss.title) == ("accuracy", "loss")
    assert "stage 2" in [mark.label for mark in accuracy.marks]
