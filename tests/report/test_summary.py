"""The first sentences of a report are true of every kind of run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.untrained_runs import planted
from transfer_cli.data.split import Split
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.report import report
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.report.run_facts_reader import case_of
from transfer_cli.report.summary import sentences, stats
from transfer_cli.runs.completed_run import FinishedRun


def case(run: FinishedRun) -> RunFacts:
    return case_of(run, {part: run.answered(part) for part in run.parts}, TrainingHistory.read(run), None)


def first(case: RunFacts, part: str) -> str:
    return sentences(case, part, case.scored[part])[0]


def test_what_it_is_judged_by(tmp_path: Path) -> None:
    run = FinishedRun.read(planted(tmp_path).path)
    tested = case(run)
    assert stats(tested, "test", tested.scored["test"], {}, [])[0] == ("Accuracy on val", "100.0 %", "12 pictures")
    out_of_fold = replace(tested, out_of_fold=True)
    assert stats(out_of_fold, "test", tested.scored["test"], {}, [])[0][2] == "12 pictures of train, out-of-fold"
    assert "18 pictures of test, which it had never seen" in first(tested, "test")
    assert not tested.out_of_fold
    assert "12 pictures of val, by which its settings were chosen" in first(tested, "val")
    assert "It did not learn from them" in first(tested, "val")
    refitted = first(replace(tested, refit=True), "val")
    assert "on 36 pictures of 3 classes" in refitted
    assert "in which it learnt from val, too" in refitted
    assert "did not learn" not in refitted


def test_without_a_val_part_the_answers_are_out_of_fold(tmp_path: Path) -> None:
    run = planted(tmp_path)
    split = Split.read(run.split)
    # As extract has it: what it says of val, it says of train pictures.
    rows = tuple(replace(row, part="train") if row.part == "val" else row for row in split.rows)
    run.split.unlink()
    replace(split, rows=rows).write(run.split)
    run.predictions("test").unlink()
    said = first(case(FinishedRun.read(run.path)), "val")
    assert "each of 12 pictures of train was judged by a classifier that had learnt from the others only" in said
    assert "val" not in said
    report(FinishedRun.read(run.path))
    page = run.report.read_text("utf-8")
    assert "out-of-fold answers" in page
    assert "12 of 12 train pictures are named rightly, out-of-fold" in page


def test_events_are_parted_by_line_feeds_alone(tmp_path: Path) -> None:
    run = planted(tmp_path)
    run.log("early stop", label="a\u2028class")
    run.log("early stop", label="b")
    course = TrainingHistory.read(FinishedRun.read(run.path))
    assert course.count("early stop") == 2
    assert course.events[0]["label"] == "a\u2028class"
    assert np.all([row["chosen"] in ("yes", "no") for row in course.tried])
