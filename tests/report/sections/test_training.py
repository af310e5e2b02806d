from __future__ import annotations

from pathlib import Path

from tests.untrained_runs import planted
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.sections.training import charts_of
from transfer_cli.runs.completed_run import FinishedRun


def test_charts_of_extract_shows_log_loss_by_regularisation(tmp_path: Path) -> None:
    (chart,) = charts_of(TrainingHistory.read(FinishedRun.read(planted(tmp_path).path)))
    assert chart.log
    assert [mark.label for mark in chart.marks] == ["chosen: 0.1"]
    assert list(chart.lines[0].points) == [(0.01, 0.9), (0.1, 0.6), (1, 0.7)]


def test_charts_of_finetune_show_accuracy_and_loss(finetuned: Path) -> None:
    accuracy, loss = charts_of(TrainingHistory.read(FinishedRun.read(finetuned)))
    assert (accuracy.title, loss.title) == ("accuracy", "loss")
    assert "stage 2" in [mark.label for mark in accuracy.marks]
