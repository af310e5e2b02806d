from __future__ import annotations

from pathlib import Path

import pytest

from tests.untrained_runs import planted
from transfer_cli.report.history import TrainingHistory
from transfer_cli.runs.completed_run import FinishedRun


def test_read_extract_has_trials_and_no_epochs(tmp_path: Path) -> None:
    history = TrainingHistory.read(FinishedRun.read(planted(tmp_path).path))
    assert not history.epochs
    assert [row["chosen"] for row in history.trials] == ["no", "yes", "no"]


def test_read_finetune_best_epoch_is_that_of_the_checkpoint_and_metrics(finetuned: Path) -> None:
    run = FinishedRun.read(finetuned)
    history = TrainingHistory.read(run)
    assert [epoch.epoch for epoch in history.epochs] == [0, 1, 2, 3, 4]
    assert history.best is not None
    (checkpoint,) = (finetuned / "checkpoints").glob("best-*.npz")
    assert history.best.epoch == int(checkpoint.stem.removeprefix("best-"))
    assert history.best.val_accuracy == pytest.approx(run.metrics["val"]["accuracy"]["value"], abs=1e-5)


def test_events_are_separated_by_line_feeds_only(tmp_path: Path) -> None:
    run = planted(tmp_path)
    run.log("early stop", label="a\u2028class")
    run.log("early stop", label="b")
    history = TrainingHistory.read(FinishedRun.read(run.path))
    assert history.count("early stop") == 2
    assert history.events[0]["label"] == "a\u2028class"
