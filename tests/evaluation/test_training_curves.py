"""The training curves of several runs in one drawing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.untrained_runs import planted
from transfer_cli.errors import InputError, RunError
from transfer_cli.evaluation.training_curves import draw_curves_of_runs
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.history import read_epochs

HEADER = "epoch,stage,learning_rate,loss,accuracy,val_loss,val_accuracy,seconds,refit\n"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[FinishedRun, FinishedRun]:
    """Return a run of extract, and one that has the history of a fine-tuning."""
    extracted = FinishedRun.read(planted(tmp_path / "one").path)
    run = planted(tmp_path / "two")
    rows = (f"{epoch},1,0.1,{1 / (epoch + 1)},0.5,{1 / (epoch + 1)},0.{epoch}5,1,no\n" for epoch in range(6))
    run.history.write_text(HEADER + "".join(rows))
    return extracted, replace(FinishedRun.read(run.path), recipe={"method": "finetune"})


def test_draw_curves_has_a_line_for_each_run(runs: tuple[FinishedRun, FinishedRun], tmp_path: Path) -> None:
    draw_curves_of_runs(["extract", "finetune"], runs, tmp_path / "both.png")
    draw_curves_of_runs(["finetune"], runs[1:], tmp_path / "one.png")
    both, one = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("both", "one"))
    assert both.shape == one.shape
    orange = (np.abs(both.astype(int) - (255, 127, 14)) < 8).all(axis=2).sum()
    assert orange > 300  # the second run has the second colour
    assert (both != one).any()


def test_draw_curves_without_epochs_raises(runs: tuple[FinishedRun, FinishedRun], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="None of these runs has training curves: extract"):
        draw_curves_of_runs(["extract"], runs[:1], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_read_epochs_of_a_damaged_history_raises(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(HEADER + "1,1,x,,,,,1,no\n")
    with pytest.raises(InputError, match="not a number"):
        read_epochs(tmp_path / "history.csv")
