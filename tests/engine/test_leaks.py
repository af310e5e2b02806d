"""What of a run was learnt from and tested on."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import run_command
from tests.engine.photographs import Planted
from transfer_cli.engine.duplicates import Duplicates, Pair
from transfer_cli.engine.leaks import Leaks, across, in_words, leaked_pictures, leaks
from transfer_cli.errors import RunError
from transfer_cli.finished import FinishedRun
from transfer_cli.split import Split, SplitRow


def split_of(*rows: tuple[str, str, str]) -> Split:
    """Return a split of (path, class, part)."""
    return Split(tuple(SplitRow(path, path, (label,), part) for path, label, part in rows), 0, "folders")


SPLIT = split_of(
    ("a", "cat", "test"), ("b", "cat", "test"), ("c", "cat", "train"), ("d", "dog", "train"), ("e", "cat", "train")
)
TWICE = Duplicates(
    (Pair("a", "b", "near", 0.9, False), Pair("b", "c", "near", 0.95, True), Pair("c", "d", "near", 0.9, False)),
    (("a", "b", "c", "d"),),
)


def test_pairs_across_parts_and_across_classes() -> None:
    found = [(leak.a.path, leak.b.path, leak.across_parts, leak.across_classes) for leak in across(TWICE, SPLIT)]
    # a is a copy of b, which is a copy of c: it is no less in train for that.
    assert found == [
        ("a", "c", True, False),
        ("a", "d", True, True),
        ("b", "c", True, False),
        ("b", "d", True, True),
        ("c", "d", False, True),
    ]


def test_leaked_are_those_whose_group_reaches_into_train() -> None:
    assert leaked_pictures(TWICE, SPLIT) == ("a", "b")
    among_themselves = Duplicates(TWICE.pairs[:1], (("a", "b"),))
    assert leaked_pictures(among_themselves, SPLIT) == ()
    assert across(among_themselves, SPLIT) == ()


def test_nothing_found_is_said() -> None:
    none = Leaks((), (), "accuracy", None, None, ())
    assert in_words(none) == ["no picture is in two parts or in two classes"]


def test_a_run_with_leaks(planted: Planted, tmp_path: Path) -> None:
    run = shutil.copytree(planted.run, tmp_path / "run")
    done = run_command("--json", "leaks", run)
    assert done.code == 0, done.err
    facts = done.json
    assert isinstance(facts, dict)
    copies = set(planted.sources)
    leaked = set(facts["leaked"])
    assert len(leaked & copies) >= 0.9 * len(copies)
    assert f"{len(leaked)} test pictures are in train or val, too" in done.err
    # Those that were learnt from are easy: without them the score is lower.
    assert facts["without_leaked"]["value"] < facts["with_leaked"]["value"]
    with (run / "leaks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {row[column] for row in rows for column in ("path_a", "path_b")}
    assert leaked <= listed
    assert {frozenset((row["part_a"], row["part_b"])) for row in rows} >= {frozenset(("test", "train"))}


def test_a_run_that_has_no_features_says_what_is_missing(copy_of_trained: Path) -> None:
    (copy_of_trained / "features.parquet").unlink()
    done = run_command("leaks", copy_of_trained)
    assert done.code == 3
    assert "has no features.parquet" in done.err
    assert "--overwrite" in done.err


def test_pictures_that_are_gone(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(colours, moved)
    (copy_of_trained / "folder.txt").write_text(f"{moved}\n")
    next(moved.rglob("*.png")).unlink()
    done = run_command("leaks", copy_of_trained)
    assert done.code == 5
    assert "1 pictures of the run cannot be read any more" in done.err
    shutil.rmtree(moved)
    with pytest.raises(RunError, match="None of the 36 pictures"):
        leaks(FinishedRun.read(copy_of_trained))


def test_features_of_another_split_are_refused(copy_of_trained: Path) -> None:
    run = FinishedRun.read(copy_of_trained)
    fewer = replace(run, split=replace(run.split, rows=run.split.rows[1:]))
    with pytest.raises(RunError, match="has the features of 36 pictures"):
        leaks(fewer)
