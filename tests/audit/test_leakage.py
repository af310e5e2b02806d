"""Leakage between the splits of a run, and its effect on the test score."""

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
from transfer_cli.audit.duplicates import DuplicatePair, Duplicates
from transfer_cli.audit.leakage import (
    Leaks,
    find_or_load_leaks,
    leaked_test_images,
    leaking_pairs,
    leaks,
    load_leaks,
    summary,
)
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import RunError
from transfer_cli.runs.completed_run import FinishedRun


def split_of(*rows: tuple[str, str, str]) -> Split:
    """Return a split of (path, class, part)."""
    return Split(tuple(SplitRow(path, path, (label,), part) for path, label, part in rows), 0, "folders")


SPLIT = split_of(
    ("a", "cat", "test"), ("b", "cat", "test"), ("c", "cat", "train"), ("d", "dog", "train"), ("e", "cat", "train")
)
DUPLICATES = Duplicates(
    (
        DuplicatePair("a", "b", "near", 0.9, False),
        DuplicatePair("b", "c", "near", 0.95, True),
        DuplicatePair("c", "d", "near", 0.9, False),
    ),
    (("a", "b", "c", "d"),),
)


def test_leaking_pairs_include_images_linked_through_others() -> None:
    pairs = leaking_pairs(DUPLICATES, SPLIT)
    # a is a duplicate of b, which is one of c in the training set: a leaks, too.
    assert [(leak.a.path, leak.b.path, leak.across_splits, leak.across_classes) for leak in pairs] == [
        ("a", "c", True, False),
        ("a", "d", True, True),
        ("b", "c", True, False),
        ("b", "d", True, True),
        ("c", "d", False, True),
    ]


def test_leaked_test_images_have_a_duplicate_in_another_split() -> None:
    assert leaked_test_images(DUPLICATES, SPLIT) == ("a", "b")
    within_test = Duplicates(DUPLICATES.pairs[:1], (("a", "b"),))
    assert leaked_test_images(within_test, SPLIT) == ()
    assert leaking_pairs(within_test, SPLIT) == ()


def test_summary_without_leaks_says_so() -> None:
    none = Leaks((), (), "accuracy", None, None, ())
    assert summary(none) == ["no leakage: no image is in two splits or in two classes"]


def test_leaks_finds_planted_duplicates_and_lower_score_without_them(planted: Planted, tmp_path: Path) -> None:
    run = shutil.copytree(planted.run, tmp_path / "run")
    done = run_command("--json", "leaks", run)
    assert done.code == 0, done.err
    facts = done.json
    assert isinstance(facts, dict)
    copies = set(planted.sources)
    leaked = set(facts["leaked_test_images"])
    assert len(leaked & copies) >= 0.9 * len(copies)
    assert f"{len(leaked)} test images are also in the training or validation set" in done.err
    # The network was trained on the leaked images: without them the score is lower.
    assert facts["score_without_leaks"]["value"] < facts["score_with_leaks"]["value"]
    with (run / "leaks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {row[column] for row in rows for column in ("path_a", "path_b")}
    assert leaked <= listed
    assert {frozenset((row["split_a"], row["split_b"])) for row in rows} >= {frozenset(("test", "train"))}


def test_leaks_run_without_features_is_error(copy_of_trained: Path) -> None:
    (copy_of_trained / "features.parquet").unlink()
    done = run_command("leaks", copy_of_trained)
    assert done.code == 3
    assert "has no features.parquet" in done.err
    assert "--overwrite" in done.err


def test_leaks_missing_images_are_skipped(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(colours, moved)
    (copy_of_trained / "folder.txt").write_text(f"{moved}\n")
    next(moved.rglob("*.png")).unlink()
    done = run_command("leaks", copy_of_trained)
    assert done.code == 5
    assert "1 image of the run could not be read" in done.err
    elsewhere = moved.rename(tmp_path / "else where")
    with pytest.raises(RunError, match="None of the 36 images") as caught:
        leaks(FinishedRun.read(copy_of_trained))
    assert str(caught.value.hint).endswith(f"transfer-cli leaks {copy_of_trained} --images DIR")
    done = run_command("leaks", copy_of_trained, "--images", elsewhere)
    assert done.code == 5
    assert "1 image of the run could not be read" in done.err


def test_features_of_another_split_are_refused(copy_of_trained: Path) -> None:
    run = FinishedRun.read(copy_of_trained)
    fewer = replace(run, split=replace(run.split, rows=run.split.rows[1:]))
    with pytest.raises(RunError, match="has the features of 36 images"):
        leaks(fewer)


@pytest.fixture
def with_copies(tmp_path: Path) -> Path:
    """Return a run with a test image that is also in train, and a val image that is in train with another label."""
    run, folder = plant_run(tmp_path), tmp_path / "images"
    split = Split.read(run.split)
    rows = list(split.rows)
    for path, source in (("test/red/red 0.png", "train/red/red 0.png"), ("val/blue/blue 0.png", "train/red/red 1.png")):
        shutil.copy(folder / source, folder / path)
        place = next(place for place, row in enumerate(rows) if row.path == path)
        rows[place] = replace(rows[place], sha256=hashlib.sha256((folder / path).read_bytes()).hexdigest())
    replace(split, rows=tuple(rows)).write(run.split)
    return run.path


def test_leaks_changed_images_are_left_out(with_copies: Path) -> None:
    images = with_copies.parent / "images"
    exact = [leak for leak in leaks(FinishedRun.read(with_copies)).pairs if leak.kind == "exact"]
    assert {leak.a.path for leak in exact} | {leak.b.path for leak in exact} >= {"test/red/red 0.png"}
    # These images have changed since the evaluation.
    shutil.copy(images / "train/blue/blue 3.png", images / "test/blue/blue 0.png")
    shutil.copy(images / "train/blue/blue 4.png", images / "test/red/red 0.png")
    result = leaks(FinishedRun.read(with_copies))
    assert result.changed == ("test/blue/blue 0.png", "test/red/red 0.png")
    listed = {row.path for leak in result.pairs for row in (leak.a, leak.b)}
    assert not listed & set(result.changed)
    for path in images.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(RunError, match="All 54 readable images"):
        leaks(FinishedRun.read(with_copies))


def test_find_or_load_leaks_uses_earlier_result_if_images_are_missing(with_copies: Path) -> None:
    run = FinishedRun.read(with_copies)
    assert load_leaks(run) is None
    result = leaks(run)
    result.write(run.directory.leaks)
    shutil.rmtree(with_copies.parent / "images")
    assert find_or_load_leaks(run, search=False) == result
    assert find_or_load_leaks(run, search=True) == result
    assert result.leaked_test_images
    # The result does not hold for another split.
    other = replace(run, split=replace(run.split, rows=tuple(replace(row, part="train") for row in run.split.rows)))
    assert load_leaks(other) is None


@pytest.mark.integration
def test_leaks_output_is_checked_before_the_work(with_copies: Path, tmp_path: Path) -> None:
    (with_copies / "leaks.csv").mkdir()
    refused = run_command("leaks", with_copies)
    assert refused.code == 3
    assert "measuring the images" not in refused.err
    assert "measuring the images" not in run_command("leaks", with_copies, "-o", "/proc/no/leaks.csv").err
    (tmp_path / "mine.csv").write_text("path,label\n")
    assert "is not a list of leaks" in run_command("leaks", with_copies, "-o", tmp_path / "mine.csv").err
    done = run_command("leaks", with_copies, "-o", tmp_path / "there.csv")
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "there.csv")
    assert done.err.index("correct the wrong label first") < done.err.index("--group-by near-duplicates")
