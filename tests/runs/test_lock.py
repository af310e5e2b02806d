"""The lock of a run: one writer, freed by its end or by a kill."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from transfer_cli.errors import OutputError, RunError
from transfer_cli.runs import lock
from transfer_cli.runs.lock import LOCK_FILE

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
