"""The lock of a run: one writer, freed by its end or by a kill."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from transfer_cli.errors import OutputError, RunError
from transfer_cli.io.atomic import atomic_write, write_text
from transfer_cli.runs import lock
from transfer_cli.runs.lock import LOCK_FILE
from transfer_cli.runs.run_directory import RunDirectory

HOLD = """
import sys, time
from pathlib import Path
from transfer_cli.runs import lock
lock.acquire(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def test_acquire_while_another_process_holds_it_raises_until_it_is_killed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="Another process is writing the run"):
            lock.acquire(run)
    finally:
        process.kill()
        process.communicate()
    # The file is still there, but nobody holds it.
    assert (run / LOCK_FILE).is_file()
    lock.acquire(run)
    lock.release(run)


def test_acquire_twice_in_one_process_and_release_removes_the_file(tmp_path: Path) -> None:
    lock.acquire(tmp_path)
    lock.acquire(tmp_path / ".." / tmp_path.name)
    assert (tmp_path / LOCK_FILE).is_file()
    lock.release(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock.release(tmp_path)  # without effect


@pytest.mark.parametrize(("number", "error"), [(errno.ENOLCK, None), (errno.EACCES, OutputError)])
def test_acquire_on_a_file_system_without_locks_goes_on(
    number: int, error: type[Exception] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileLock) -> None:
        raise OSError(number, "planted")

    monkeypatch.setattr(FileLock, "acquire", fail)
    if error is None:
        lock.acquire(tmp_path)
        return
    with pytest.raises(error):
        lock.acquire(tmp_path)


CLAIM = """
import sys, time
from pathlib import Path
from transfer_cli.errors import RunError
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.run_directory import RunDirectory
run, images = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
recipe = ExtractRecipe.load()
print("ready", flush=True)
sys.stdin.readline()
try:
    run.check_free(recipe, images)
    run.claim(recipe, images)
    print("claimed", flush=True)
    sys.stdin.readline()
except RunError as error:
    print(error, flush=True)
"""


def test_claim_by_four_at_once_gives_one_the_run_and_the_others_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "run"), str(tmp_path / "images")]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    lines = [process.stdout for process in started if process.stdout]
    assert [line.readline() for line in lines] == ["ready\n"] * 4
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
    said = [line.readline().strip() for line in lines]
    for process in started:
        process.communicate("\n", timeout=60)
    assert sorted(said) == sorted(["claimed", *[f"Another process is writing the run {tmp_path / 'run'}."] * 3])


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_run_that_is_moved_while_it_is_written_is_noticed_and_not_created_again(how: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    lock.acquire(run.path)
    try:
        run.log("begin")
        run.path.rename(tmp_path / "elsewhere")
        if how == "removed":
            shutil.rmtree(tmp_path / "elsewhere")
        elif how == "replaced":
            run.path.mkdir()
        for write in (lambda: run.log("epoch"), lambda: write_text(run.split, ""), lambda: run.complete({})):
            with pytest.raises(OutputError, match="run was moved, renamed or removed while it was being written"):
                write()
        assert not run.path.exists() or not list(run.path.iterdir())
    finally:
        lock.release(run.path)


def test_run_that_is_moved_while_a_file_is_written_is_noticed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    lock.acquire(run.path)
    try:
        writing = atomic_write(run.features)
        writing.__enter__().write_text("features")
        run.path.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="was moved"):
            writing.__exit__(None, None, None)
        assert not run.path.exists()
    finally:
        lock.release(run.path)
