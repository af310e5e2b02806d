"""Overwriting a run: the earlier results are kept, and its model is in use, until the new ones are complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.test_wholeness import complete_run
from transfer_cli.errors import GateError
from transfer_cli.io import drafts
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs import earlier_results, lock
from transfer_cli.runs.run_directory import RunDirectory

RECIPE = ExtractRecipe.load()
OTHER = RECIPE.model_copy(update={"seed": 9})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Return a complete run with a note of its owner."""
    run = RunDirectory(tmp_path / "run")
    with run.releasing_lock():
        run.claim(RECIPE, tmp_path / "images")
        complete_run(run.path)
    run.predictions("val").write_text("path,label\n")
    (run.path / "notes.txt").write_text("mine")
    run.log("end")
    return run


def content(run: RunDirectory) -> dict[str, bytes]:
    return {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def overwrite(run: RunDirectory) -> None:
    run.claim(OTHER, run.path.parent / "images", overwrite=True)


def overwritten(run: RunDirectory, train: Callable[[], None]) -> None:
    with run.releasing_lock():
        overwrite(run)
        train()


def write_new_results(run: RunDirectory) -> None:
    """Write other results and another model, but not metrics.json."""
    complete_run(run.path.parent / "new", "new weights")
    drafts.remove_folder(run.model)
    (run.path.parent / "new/model").rename(run.model)
    run.features.write_bytes(b"PAR1 new PAR1")
    run.log("new")


@pytest.mark.parametrize("error", [GateError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("late", [True, False])
def test_overwrite_that_fails_restores_the_earlier_run(
    error: type[BaseException], late: bool, run: RunDirectory
) -> None:
    before = content(run)

    def train() -> None:
        assert (run.model / "linear.npz").read_text() == "weights"
        assert not run.metrics.exists()
        if late:
            write_new_results(run)
        raise error("planted")

    with pytest.raises(error):
        overwritten(run, train)
    assert content(run) == before


def test_overwrite_without_keeping_results_loses_them(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDirectory, "_keep_results", lambda self: None)

    def fail() -> None:
        raise GateError("planted")

    with pytest.raises(GateError):
        overwritten(run, fail)
    assert not run.model.exists()


@pytest.mark.parametrize("late", [True, False])
def test_overwrite_that_is_killed_is_undone_by_the_next_command(late: bool, run: RunDirectory) -> None:
    before = content(run)
    overwrite(run)
    if late:
        write_new_results(run)
    # A command of another process waits for the end.
    run.restore_earlier()
    assert not run.metrics.exists()
    lock.release(run.path)
    assert run.is_complete(with_model=True, with_features=True)
    assert content(run) == before


def test_overwrite_that_ends_replaces_the_earlier_run_and_keeps_its_split_and_foreign_files(run: RunDirectory) -> None:
    split = run.split.read_bytes()
    with run.releasing_lock():
        overwrite(run)
        write_new_results(run)
        run.skipped.write_text("path,reason\n")
        run.complete({"test": {}})
    assert (run.model / "linear.npz").read_text() == "new weights"
    assert run.split.read_bytes() == split
    assert (run.path / "notes.txt").read_text() == "mine"
    assert not run.predictions("val").exists()
    assert not earlier_results.exist(run.path)
    assert run.is_complete(with_model=True, with_features=True)


def test_overwrite_that_was_interrupted_after_an_epoch_can_be_continued(run: RunDirectory) -> None:

    def train() -> None:
        run.checkpoints.mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        overwritten(run, train)
    assert (run.model / "linear.npz").read_text() == "weights"
    with run.releasing_lock():
        run.claim(OTHER, run.path.parent / "images")
        assert run.checkpoints.is_dir()
        run.complete({"test": {}})
    assert not earlier_results.exist(run.path)


def test_restore_that_was_killed_is_done_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(run)
    overwrite(run)
    write_new_results(run)
    put_in_place, calls = earlier_results.put_in_place, []

    def killed(draft: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 4:
            raise MemoryError
        put_in_place(draft, target)

    monkeypatch.setattr(earlier_results, "put_in_place", killed)
    lock.release(run.path)
    with pytest.raises(MemoryError):
        run.restore_earlier()
    run.restore_earlier()
    assert content(run) == before


def test_overwrite_of_an_unfinished_run_keeps_nothing(run: RunDirectory) -> None:
    run.metrics.unlink()
    with run.releasing_lock():
        overwrite(run)
        assert not earlier_results.exist(run.path)
        assert not run.model.exists()
