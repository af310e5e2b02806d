"""Drafts of killed processes are removed by the next command; those of living ones are not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from transfer_cli.errors import OutputError
from transfer_cli.io import drafts
from transfer_cli.io.atomic import atomic_write, scratch_folder

HOLD = """
import sys, time
from pathlib import Path
from transfer_cli.io.atomic import atomic_write, scratch_folder
from transfer_cli.io.drafts import temporary_folder
place = Path(sys.argv[1])
with (
    atomic_write(place / "p.csv") as table,
    atomic_write(place / "unpacked") as folder,
    scratch_folder(place / "keras", ".kit."),
    temporary_folder() as temporary,
):
    table.write_text("half")
    folder.mkdir()
    (folder / "bundle.json").write_text("half")
    (temporary / "graph.tflite").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test and its processes a state folder and a TMPDIR of their own."""
    for name, variable in (("state", "XDG_STATE_HOME"), ("tmp", "TMPDIR")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setattr(drafts.tempfile, "tempdir", str(tmp_path / "tmp"))
    # Another test of this process may hold a draft until the process ends.
    monkeypatch.setattr(drafts, "_OWN", drafts._Journal(0))
    return tmp_path


def started(place: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def left(surroundings: Path) -> list[str]:
    """Return the drafts that are left: two beside outputs, one in the folder of the weights, one in TMPDIR."""
    places = (surroundings / "out", surroundings / "out/keras", surroundings / "tmp")
    return sorted(path.name for place in places if place.is_dir() for path in place.iterdir() if path.name != "keras")


def test_sweep_removes_the_drafts_of_a_killed_process_and_keeps_those_of_a_living_one(surroundings: Path) -> None:
    process = started(surroundings / "out")
    try:
        drafts.sweep()
        assert len(left(surroundings)) == 4
    finally:
        process.kill()
        process.communicate()
    assert len(left(surroundings)) == 4
    drafts.sweep()
    assert left(surroundings) == []
    assert list(surroundings.rglob("*.drafts")) == []


def test_drafts_that_are_finished_leave_no_journal(surroundings: Path) -> None:
    with atomic_write(surroundings / "p.csv") as draft:
        draft.write_text("whole")
        assert len(list(surroundings.rglob("*.drafts"))) == 1
    with pytest.raises(KeyError), scratch_folder(surroundings, ".draft-"):
        raise KeyError
    assert list(surroundings.rglob("*.drafts")) == []
    assert sorted(path.name for path in surroundings.iterdir()) == ["p.csv", "state", "tmp"]


def journal_of(surroundings: Path, *paths: Path, age: float = 0.0) -> Path:
    """Write the journal of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = surroundings / "state/transfer-cli/drafts"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    journal = folder / f"{drafts._host()}-{process.pid}-01234567.drafts"
    journal.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths))
    os.utime(journal, (time.time() - age,) * 2)
    return journal


def test_sweep_removes_nothing_that_is_not_named_like_a_draft(surroundings: Path) -> None:
    mine, half = surroundings / "photos.csv", surroundings / ".p.01234567.csv"
    for path in (mine, half):
        path.write_text("weeks of work")
    journal = journal_of(surroundings, mine, surroundings, half)
    # A path that was not written to its end.
    journal.write_bytes(journal.read_bytes() + os.fsencode(surroundings / ".q.01234567.csv"))
    (surroundings / ".q.01234567.csv").touch()
    drafts.sweep()
    assert mine.is_file()
    assert not half.exists()
    assert (surroundings / ".q.01234567.csv").exists()


@pytest.mark.parametrize(("age", "expected"), [(0.0, True), (120.0, False)])
def test_sweep_without_locks_waits_a_minute(
    age: float, expected: bool, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FileLock) -> None:
        raise OSError(errno.ENOLCK, "planted")

    draft = surroundings / ".p.01234567.csv"
    draft.touch()
    journal_of(surroundings, draft, age=age)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    drafts.sweep()
    assert draft.exists() == expected


def test_sweep_without_locks_keeps_the_drafts_of_a_running_process(
    surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FileLock) -> None:
        raise OSError(errno.ENOLCK, "planted")

    draft = surroundings / ".p.01234567.csv"
    draft.touch()
    journal = journal_of(surroundings, draft, age=3600)
    journal.rename(journal.with_name(f"{drafts._host()}-{os.getpid()}-01234567.drafts"))
    monkeypatch.setattr(FileLock, "acquire", refuse)
    drafts.sweep()
    assert draft.exists()


@pytest.mark.parametrize("replaced", [True, False])
def test_sweep_gives_a_folder_that_was_moved_away_its_name_back(replaced: bool, surroundings: Path) -> None:
    old = surroundings / ".model.01234567.old"
    old.mkdir()
    if replaced:
        (surroundings / "model").mkdir()
    journal_of(surroundings, old)
    drafts.sweep()
    assert (surroundings / "model").is_dir()
    assert not old.exists()


def test_journal_that_others_can_write_is_not_followed(surroundings: Path) -> None:
    draft = surroundings / ".p.01234567.csv"
    draft.touch()
    journal_of(surroundings, draft).parent.chmod(0o777)
    drafts.sweep()
    assert draft.exists()


def test_new_folder_without_a_place_says_what_to_do(surroundings: Path) -> None:
    (surroundings / "file").touch()
    with pytest.raises(OutputError, match=r"No temporary folder could be created in .*: Not a directory") as info:
        drafts.new_folder(parent=surroundings / "file")
    assert "TMPDIR=DIR" in str(info.value.hint)
