from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.data.predictions import Predictions
from transfer_cli.report.sections.calibration import charts_of
from transfer_cli.runs.completed_run import PartPredictions


def predictions_of(truth: list[int], probabilities: list[list[float]]) -> PartPredictions:
    paths = tuple(f"{number}.png" for number in range(len(truth)))
    predictions = Predictions(paths, ("a", "b"), np.array(probabilities, np.float32))
    return PartPredictions(np.arange(len(truth)), np.array(truth), predictions)


def test_charts_of_known_predictions_have_known_points() -> None:
    part = predictions_of([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    reliability, roc, precision = charts_of(part, ("a", "b"))
    line = reliability.lines[1]
    assert [point[0] for point in line.points] == pytest.approx([0.7, 0.9])
    assert [point[1] for point in line.points] == pytest.approx([1, 2 / 3], abs=1e-6)
    assert "confidence 90 %: accuracy 67 % (3)" in reliability.description
    assert roc.lines[0].points[0] == (0, 0)
    assert roc.lines[0].points[-1] == (1, 1)
    assert {line.label for line in roc.lines} == {"a 0.75", "b 0.75", "random"}
    assert {line.label for line in precision.lines} == {"a 0.67", "b 0.75"}


def test_charts_of_one_class_have_no_curves() -> None:
    part = predictions_of([0, 0], [[0.9, 0.1], [0.2, 0.8]])
    assert [chart.title for chart in charts_of(part, ("a", "b"))] == ["reliability diagram"]
