"""A stage continues from the best weights of the stage before it: unfreezing alone changes no prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.finetuning import AS_MADE, rows_of, run_on
from transfer_cli.training.loop.training_step import TrainingStep


def test_next_stage_starts_with_the_metrics_of_the_best_epoch(finetuned: Path) -> None:
    events = [json.loads(line) for line in (finetuned / "events.jsonl").read_text().splitlines()]
    (unfrozen,) = [event for event in events if event["event"] == "unfrozen"]
    before = [row for row in rows_of(finetuned / "history.csv") if row["stage"] == "1"]
    best = max(before, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert unfrozen["stage"] == 2
    assert unfrozen["val_loss"] == pytest.approx(float(best["val_loss"]), rel=1e-4)
    assert unfrozen["val_accuracy"] == pytest.approx(float(best["val_accuracy"]))


@pytest.mark.integration
def test_next_stage_changed_predictions_raise(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: BatchNorm with the statistics of each batch, as Keras does once its layer is trainable."""

    def forward(self: TrainingStep, inputs: object, training: bool = False) -> object:
        return inputs if self._frozen_split.upper is None else self._frozen_split.upper(inputs, training=True)

    monkeypatch.setattr(TrainingStep, "forward", forward)
    with pytest.raises(RuntimeError, match="Unfreezing layers for stage 2 changed the predictions before any step"):
        run_on(colours, tmp_path / "run", *AS_MADE, "inference.runtime=keras", source=str(two_stages))
    # The epochs before are kept: the run can be resumed.
    assert rows_of(tmp_path / "run/history.csv")[-1]["stage"] == "1"
