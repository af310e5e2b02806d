"""What of a run was learnt from and tested on."""

from __future__ import annotations

import csv
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import run_command
from tests.planted_leaks import Planted
from tests.untrained_runs import planted as plant_run
from transfer_cli.audit.duplicates import Duplicates, Pair
from transfer_cli.audit.leakage import Leaks, across, found_or_read, leaked_pictures, leaks, read, summary
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import RunError
from transfer_cli.runs.completed_run import FinishedRun


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
    assert summary(none) == ["no picture is in two parts or in two classes"]


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


@pytest.fixture
def with_copies(tmp_path: Path) -> Path:
    """Return a finished run: one picture of test is in train, too, and one of val is of another class in train."""
    run, folder = plant_run(tmp_path), tmp_path / "images"
    split = Split.read(run.split)
    rows = list(split.rows)
    for path, source in (("test/red/red 0.png", "train/red/red 0.png"), ("val/blue/blue 0.png", "train/red/red 1.png")):
        shutil.copy(folder / source, folder / path)
        place = next(place for place, row in enumerate(rows) if row.path == path)
        rows[place] = replace(rows[place], sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest())
    replace(split, rows=tuple(rows)).write(run.split)
    return run.path


def test_changed_pictures_are_left_out_and_said(with_copies: Path) -> None:
    images = with_copies.parent / "images"
    exact = [leak for leak in leaks(FinishedRun.read(with_copies)).found if leak.kind == "exact"]
    assert {leak.a.path for leak in exact} | {leak.b.path for leak in exact} >= {"test/red/red 0.png"}
    # A picture laid there since is not what was tested.
    shutil.copy(images / "train/blue/blue 3.png", images / "test/blue/blue 0.png")
    shutil.copy(images / "train/blue/blue 4.png", images / "test/red/red 0.png")
    found = leaks(FinishedRun.read(with_copies))
    assert found.changed == ("test/blue/blue 0.png", "test/red/red 0.png")
    listed = {row.path for leak in found.found for row in (leak.a, leak.b)}
    assert not listed & set(found.changed)
    for path in images.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(RunError, match="All 54 pictures"):
        leaks(FinishedRun.read(with_copies))


def test_what_was_found_is_read_again_once_the_pictures_are_gone(with_copies: Path) -> None:
    run = FinishedRun.read(with_copies)
    assert read(run) is None
    found = leaks(run)
    found.write(run.directory.leaks)
    shutil.rmtree(with_copies.parent / "images")
    assert found_or_read(run, compares=False) == found
    assert found_or_read(run, compares=True) == found
    assert found.leaked
    # Of another split it says nothing.
    other = replace(run, split=replace(run.split, rows=tuple(replace(row, part="train") for row in run.split.rows)))
    assert read(other) is None


def test_where_the_list_is_written(with_copies: Path, tmp_path: Path) -> None:
    (with_copies / "leaks.csv").mkdir()
    refused = run_command("leaks", with_copies)
    assert refused.code == 3
    assert "looking at" not in refused.err
    assert "looking at" not in run_command("leaks", with_copies, "-o", "/proc/no/leaks.csv").err
    (tmp_path / "mine.csv").write_text("path,label\n")
    assert "holds no list of leaks" in run_command("leaks", with_copies, "-o", tmp_path / "mine.csv").err
    done = run_command("leaks", with_copies, "-o", tmp_path / "there.csv")
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "there.csv")
    assert done.err.index("correct the label first") < done.err.index("--group-by near-duplicates")
