"""The sentences of the summary are true for every kind of run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.untrained_runs import planted
from transfer_cli.data.split import Split
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.report import report
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.report.run_facts_reader import read_run_facts
from transfer_cli.report.sections.summary import key_values, sentences
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.history import Epoch


def facts_of(run: FinishedRun) -> RunFacts:
    parts = {part: run.predictions_of(part) for part in run.parts}
    return read_run_facts(run, parts, TrainingHistory.read(run), None)


def test_sentences_name_the_images_of_the_evaluation(tmp_path: Path) -> None:
    facts = facts_of(FinishedRun.read(planted(tmp_path).path))
    assert "18 test images, which were not used for training or selection" in sentences(facts, "test")[0]
    on_val = sentences(facts, "val")[0]
    assert "12 validation images. They were also used to choose its settings" in on_val
    assert "It was not trained on them" in on_val
    refit = Epoch(1, 1, 1e-3, 0.1, 0.9, None, None, 1.0, refit=True)
    refitted = sentences(replace(facts, history=TrainingHistory((refit,))), "val")[0]
    assert "on 36 images of 3 classes" in refitted
    assert "before the refit on training and validation images" in refitted
    assert "not trained on them" not in refitted


def test_key_values_distinguish_validation_from_cross_validation(tmp_path: Path) -> None:
    facts = facts_of(FinishedRun.read(planted(tmp_path).path))
    assert not facts.out_of_fold
    first = next(iter(key_values(facts, "test", {}, [])))
    assert first == ("Accuracy on val", "100.0 %", "12 validation images")
    first = next(iter(key_values(replace(facts, out_of_fold=True), "test", {}, [])))
    assert first == ("Accuracy, cross-validated", "100.0 %", "12 training images")


def test_summary_without_val_and_test_set_is_cross_validated(tmp_path: Path) -> None:
    run = planted(tmp_path)
    split = Split.read(run.split)
    # Like extract without a validation set: predictions of val are of training images.
    rows = tuple(replace(row, part="train") if row.part == "val" else row for row in split.rows)
    run.split.unlink()
    replace(split, rows=rows).write(run.split)
    run.predictions("test").unlink()
    first = sentences(facts_of(FinishedRun.read(run.path)), "val")[0]
    assert "each of 12 training images was predicted by a classifier that was trained without it" in first
    assert "validation image" not in first
    report(FinishedRun.read(run.path))
    page = run.report.read_text("utf-8")
    assert "evaluated here by cross-validation" in page
    assert "12 of 12 training images (cross-validated) classified correctly (100 %)" in page
