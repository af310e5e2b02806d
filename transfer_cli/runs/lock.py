"""One writer per run: the operating system frees the lock when its process ends, even if it is killed."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transfer_cli.errors import RunError
from transfer_cli.io.atomic import guard, make_folder, unguard, write_error

LOCK_FILE = ".lock"
_HELD: dict[Path, FileLock] = {}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system without locks answers, such as some network drives; its runs are written without a lock."""


def acquire(run: Path) -> None:
    """Lock the directory of a run for this process, which may hold the lock already.

    Raises
    ------
    RunError
        If another process holds the lock.
    OutputError
        If the directory cannot be written.
    """
    place = run.resolve()
    if place in _HELD:
        return
    try:
        make_folder(run)
        # A soft lock would outlive a killed process.
        lock = FileLock(place / LOCK_FILE, timeout=0, thread_local=False, fallback_to_soft=False)
        lock.acquire()
        _HELD[place] = lock
    except Timeout:
        raise _busy(run) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise write_error(error, run) from error
    guard(run)


def check_free(run: Path) -> None:
    """Raise RunError if another process holds the lock; nothing is created."""
    if is_busy(run):
        raise _busy(run)


def is_busy(run: Path) -> bool:
    """Return whether another process holds the lock."""
    place = run.resolve()
    if place in _HELD or not (place / LOCK_FILE).is_file():
        return False
    lock = FileLock(place / LOCK_FILE, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def is_own(run: Path) -> bool:
    """Return whether this process holds the lock."""
    return run.resolve() in _HELD


def _busy(run: Path) -> RunError:
    hint = "Wait until it has ended, or choose another place with -o RUN."
    return RunError(f"Another process is writing the run {run}.", hint=hint)


def release(run: Path) -> None:
    """Free the lock if this process holds it."""
    unguard(run)
    if (lock := _HELD.pop(run.resolve(), None)) is not None:
        # Removed while it is held: a process that waits for the removed file finds out and creates a new one.
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
