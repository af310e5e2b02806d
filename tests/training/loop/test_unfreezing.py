"""Another stage learns from where the last one was best: unfreezing alone changes no answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.finetuning import AS_MADE, rows_of, run_on
from transfer_cli.training.loop import stage_trainer


def test_nothing_is_changed_before_the_first_step(finetuned: Path) -> None:
    events = [json.loads(line) for line in (finetuned / "events.jsonl").read_text().splitlines()]
    (switch,) = [event for event in events if event["event"] == "unfrozen"]
    history = {row["epoch"]: row for row in rows_of(finetuned / "history.csv")}
    before = [row for row in history.values() if row["stage"] == "1"]
    best = max(before, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert switch["stage"] == 2
    assert switch["val_loss"] == pytest.approx(float(best["val_loss"]), rel=1e-4)
    assert switch["val_accuracy"] == pytest.approx(float(best["val_accuracy"]))


def test_a_network_that_answers_otherwise_is_found_out(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: BatchNorm by the statistics of each batch, as Keras does once its layer is trainable."""

    def forward(self: stage_trainer.StageTrainer, inputs: object, training: bool = False) -> object:
        return inputs if self._frozen_split.upper is None else self._frozen_split.upper(inputs, training=True)

    monkeypatch.setattr(stage_trainer.StageTrainer, "_forward", forward)
    with pytest.raises(RuntimeError, match="Unfreezing for stage 2 changed what the network says, before any step"):
        run_on(colours, tmp_path / "run", *AS_MADE, "inference.runtime=keras", source=str(two_stages))
    # What was reached before is there to go on from.
    assert rows_of(tmp_path / "run/history.csv")[-1]["stage"] == "1"


def test_a_parted_block_is_warned_of(colours: Path, tmp_path: Path) -> None:
    from transfer_cli.progress import SILENT

    class Heard:
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.note = self.warn = self.lines.append
            self.track = SILENT.track

    heard = Heard()
    words = ("backbone.name=mobilenet_v2@0.35", "stage.1.unfreeze=from:block_15_project", "stage.1.epochs=1")
    run_on(colours, tmp_path / "run", *words, "split.val=0.2", progress=heard)
    said = [line for line in heard.lines if "within a block" in line]
    assert len(said) == 1
    assert said[0].endswith("--set stage.1.unfreeze=from:block_15_expand")
