"""Drafts of this computer: unfinished files and folders, which the next command removes if their process was killed.

Each process lists its drafts in a journal and locks it. The operating system frees the lock however the process ends;
the next command on the same computer removes what the list names. A process that ends by itself leaves no journal.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from transfer_cli.errors import OutputError
from transfer_cli.io.disk_errors import NOTHING_LEFT, is_full, reason_of

_JOURNAL = "{host}-{pid}-{token}.drafts"
_NAME = re.compile(r"[.a-z].*[.-][0-9a-f]{8}(\..*)?", re.DOTALL)
"""Names of drafts; nothing else is ever removed, whatever a journal lists."""
OLD = ".old"
"""Suffix of a folder that was moved away while another one takes its place."""
_ALONE_SECONDS = 60.0
"""Where the file system has no locks, a journal of a process that ended is read when it is older."""


@dataclass
class _Journal:
    """The list of this process."""

    pid: int
    file: Path | None = None
    lock: Any = None
    names: set[Path] = field(default_factory=set)


_OWN = _Journal(0)
_GUARD = threading.Lock()


def enter(draft: Path) -> None:
    """List a draft before it is created."""
    global _OWN
    with _GUARD:
        if _OWN.pid != os.getpid():
            # A process that was forked has its own list; the other one belongs to its parent.
            _OWN = _Journal(os.getpid())
        path = draft.absolute()
        _OWN.names.add(path)
        if _OWN.file is None:
            _open(_OWN)
        if _OWN.file is not None:
            # A draft that cannot be listed is written all the same: it is only not removed after a kill.
            with suppress(OSError), _OWN.file.open("ab") as file:
                file.write(os.fsencode(path) + b"\0")


def leave(draft: Path) -> None:
    """Remove a draft from the list: it was renamed or removed."""
    with _GUARD:
        _OWN.names.discard(draft.absolute())
        if not _OWN.names and _OWN.file is not None and _OWN.pid == os.getpid():
            # Removed while the lock is held, so that no other process reads it.
            with suppress(OSError):
                _OWN.file.unlink()
            if _OWN.lock is not None:
                _OWN.lock.release()
            _OWN.file = _OWN.lock = None


def sweep() -> None:
    """Remove the drafts of all processes of this computer and user that have ended without removing them."""
    for folder in _folders():
        for journal in folder.glob(_JOURNAL.format(host=_host(), pid="*", token="*")):
            with suppress(OSError):
                if journal != _OWN.file:
                    _sweep_one(journal)


def discard(draft: Path) -> None:
    """Remove a draft of a process that ended.

    A folder that was moved away gets its name back if the one that replaces it had not been renamed yet.
    """
    if draft.suffix == OLD and draft.name.startswith("."):
        target = draft.with_name(draft.name[1 : -len(".01234567" + OLD)])
        if not os.path.lexists(target):
            draft.replace(target)
            return
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


@contextmanager
def temporary_folder(prefix: str = "transfer-cli-", parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, in the system's folder for temporary files by default; it is removed at the end.

    Raises
    ------
    OutputError
        If it cannot be created, or if the folder for temporary files is full while the block runs.
    """
    folder = new_folder(prefix, parent)
    try:
        with nullcontext() if parent else room_for(folder):
            yield folder
    finally:
        remove_folder(folder)


@contextmanager
def room_for(folder: Path) -> Iterator[None]:
    """Raise OutputError, which names the folder for temporary files, if there is no room for what is put in `folder`.

    What the block writes elsewhere has errors of its own: `atomic_write`.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise full_error(folder.parent, error) from error
        raise


def full_error(place: Path, error: BaseException) -> OutputError:
    """Return the error to raise if `place`, the folder for temporary files, is full."""
    return OutputError(
        f"The folder for temporary files, {place}, is full: {reason_of(error)}. {NOTHING_LEFT}",
        hint="Free disk space there, or choose another folder for temporary files (export TMPDIR=DIR); then run the "
        "same command again.",
    )


def new_folder(prefix: str = "transfer-cli-", parent: Path | None = None) -> Path:
    """Create a folder for temporary files as `temporary_folder` does; the caller removes it with `remove_folder`."""
    place = parent
    try:
        place = parent or Path(tempfile.gettempdir())
        folder = place / f"{prefix}{secrets.token_hex(4)}"
        enter(folder)
        try:
            folder.mkdir(mode=0o700, parents=parent is not None)
        except BaseException:
            remove_folder(folder)
            raise
    except OSError as error:
        raise OutputError(
            f"No temporary folder could be created{f' in {place}' if place else ''}: {reason_of(error)}.",
            hint="Free disk space, or choose another folder for temporary files: export TMPDIR=DIR",
        ) from error
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder of `new_folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    leave(folder)


@contextmanager
def libraries_write_to(folder: Path) -> Iterator[None]:
    """Let libraries create their temporary files in `folder` while the block runs, so that they are removed with it."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@cache
def _host() -> str:
    return re.sub(r"[^\w-]", "_", platform.node()) or "computer"


def _folders() -> list[Path]:
    """Return where journals may be: the user's folder, and one beside temporary files if that cannot be written."""
    import platformdirs

    folders = []
    with suppress(RuntimeError):  # without a home
        folders.append(platformdirs.user_state_path("transfer-cli", appauthor=False) / "drafts")
    with suppress(OSError):  # without a place for temporary files
        user = getattr(os, "getuid", lambda: "")()
        folders.append(Path(tempfile.gettempdir()) / f".drafts-of-transfer-cli-{user}")
    return folders


def _open(journal: _Journal) -> None:
    """Create and lock the journal of this process; without a place for it, drafts are not listed."""
    from filelock import FileLock

    name = _JOURNAL.format(host=_host(), pid=journal.pid, token=secrets.token_hex(4))
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(folder):
                continue
            lock = FileLock(folder / name, timeout=5, thread_local=False, fallback_to_soft=False, mode=0o600)
            try:
                lock.acquire()
                journal.lock = lock
            except OSError:
                (folder / name).touch(mode=0o600)  # no locks here
        except OSError:
            continue
        journal.file = folder / name
        return


def _is_own(folder: Path) -> bool:
    """Return whether nobody else can write a journal into the folder."""
    status = folder.lstat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _sweep_one(journal: Path) -> None:
    from filelock import FileLock, Timeout

    age = time.time() - journal.stat().st_mtime
    if not _is_own(journal.parent) or (age < _ALONE_SECONDS and not journal.stat().st_size):
        return  # or its process is about to lock it
    lock = FileLock(journal, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return
    except OSError:
        if age < _ALONE_SECONDS or _is_running(journal):
            return
    try:
        for name in journal.read_bytes().split(b"\0")[:-1]:
            _discard_listed(Path(os.fsdecode(name)))
        journal.unlink(missing_ok=True)
    finally:
        lock.release()


def _is_running(journal: Path) -> bool:
    try:
        os.kill(int(journal.stem.split("-")[-2]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        pass
    return True


def _discard_listed(path: Path) -> None:
    if path.is_absolute() and _NAME.fullmatch(path.name):
        discard(path)
