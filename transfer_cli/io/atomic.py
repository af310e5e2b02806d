"""Atomic writes: a file or folder is written beside its target, flushed to the disk, then renamed.

After a power cut the disk holds what was flushed, in any order: a name without content if a file was renamed before it
was flushed, and no name at all if its folder was not.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transfer_cli.errors import OutputError
from transfer_cli.io import drafts
from transfer_cli.io.discovery import HEIF_SUFFIXES, SUFFIXES
from transfer_cli.io.disk_errors import ANOTHER_PLACE, NOTHING_LEFT, is_full, reason_of
from transfer_cli.text import valid_json

_WRITE_BITS = 0o222
_GUARDED: dict[Path, tuple[Path, tuple[int, int]]] = {}
"""Folders that must not be moved while this process writes them: as they were named, and which folder they are."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a draft path, which is renamed to `path` if the block ends without an error and removed otherwise.

    Parameters
    ----------
    path : Path
        The file or folder to write. Its parent folders are created. An existing file is replaced in one step; an
        existing folder is moved away first and removed afterwards.

    Raises
    ------
    OutputError
        If the file system refuses: permission, space, a file in place of a folder.
    """
    # Libraries choose a format by the suffix, so the draft keeps it.
    target = path.resolve() if path.name in ("", "..") else path
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        check_not_moved(target)
        drafts.enter(draft)
        make_folder(target.parent)
        yield draft
        check_not_moved(target)
        put_in_place(draft, target)
    except OSError as error:
        check_not_moved(target)
        raise write_error(error, path) from error
    finally:
        remove(draft)
        drafts.leave(draft)


def make_folder(folder: Path) -> None:
    """Create a folder with its parents, and flush the names of the new ones."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in new:
        flush(place.parent)


def put_in_place(draft: Path, target: Path) -> None:
    """Flush a file or folder to the disk, rename it to `target`, and flush the new name.

    An existing file or folder of that name is replaced in one step where the system can do that; elsewhere a folder is
    moved away first.
    """
    flush_all(draft)
    if not draft.is_dir():
        draft.replace(target)
    elif os.path.lexists(target):
        _replace_directory(draft, target)
    else:
        draft.rename(target)
    flush(target.parent)


def flush_all(path: Path) -> None:
    """Flush a file, or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                flush(Path(folder, name))
            flush(Path(folder))
    else:
        flush(path)


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, from the system's memory to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and writes names at once
    try:
        number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        # Some network drives cannot flush a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EISDIR) or not path.is_dir():
            raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    with atomic_write(target) as draft:
        shutil.copyfile(source, draft)


def guard(folder: Path) -> None:
    """Refuse to write into a folder from now on if it was moved: `atomic_write` would create it again, empty.

    Raises
    ------
    OSError
        If it does not exist.
    """
    status = folder.stat()
    _GUARDED[folder.resolve()] = folder, (status.st_dev, status.st_ino)


def unguard(folder: Path) -> None:
    """End `guard`."""
    _GUARDED.pop(folder.resolve(), None)


def check_not_moved(target: Path) -> None:
    """Raise OutputError if `target` is in a folder that was moved or removed since `guard`."""
    place = target.resolve() if _GUARDED else target
    for folder, (name, identity) in _GUARDED.items():
        if not place.is_relative_to(folder):
            continue
        try:
            status = folder.stat()
            moved = (status.st_dev, status.st_ino) != identity
        except OSError:
            moved = True
        if moved:
            raise OutputError(
                f"{name} was moved, renamed or removed while it was being written. Nothing more was written to it.",
                hint="Move it back, then run the same command again.",
            )


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is removed at the end.

    Its name is known before it exists: unlike one of `tempfile`, it is removed even if the program is interrupted while
    it is being created. A `parent` that did not exist is removed with it if the block fails and nothing else is in it.

    Raises
    ------
    OutputError
        If the file system refuses to create it.
    """
    folder = parent / f"{prefix}{secrets.token_hex(4)}"
    new = [place for place in (parent, *parent.parents) if not os.path.lexists(place)]
    drafts.enter(folder)
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise write_error(error, parent) from error
        yield folder
    except BaseException:
        remove(folder)
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise
    finally:
        remove(folder)
        drafts.leave(folder)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with line feeds; file names that are not UTF-8 keep their bytes."""
    with atomic_write(path) as draft:
        draft.write_bytes(text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, which is valid UTF-8."""
    write_text(path, valid_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + "\n")


def write_error(error: OSError, path: Path) -> OutputError:
    """Return the error to raise when the file system refused to write `path`."""
    again = "Free disk space, then run the same command again."
    return OutputError(
        f"{path} could not be written: {reason_of(error)}. {NOTHING_LEFT}",
        hint=again if is_full(error) else ANOTHER_PLACE,
    )


def check_replaceable(target: Path, is_ours: Callable[[Path], bool], kind: str) -> None:
    """Raise OutputError if a folder that will be replaced holds files that this program did not write.

    Parameters
    ----------
    target : Path
        Need not exist.
    is_ours : callable
        Whether an entry of the folder was written by this program.
    kind : str
        What the folder should hold, for the message: "a check".
    """
    another = "Choose another folder with -o DIR."
    if Path.cwd().is_relative_to(target.resolve()):
        raise OutputError(
            f"{target} is the current folder or contains it, and would be replaced.",
            hint="Give the name of a new folder in it: -o NAME" if target.resolve() == Path.cwd() else another,
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{target} is a file. Expected the name of a folder.")
    try:
        others = [path.name for path in target.iterdir() if path.is_dir() or not is_ours(path)]
    except OSError as error:
        raise write_error(error, target) from error
    if others:
        raise OutputError(f"{target} holds {min(others)}, which is not part of {kind} and would be lost.", hint=another)


def check_writable(path: Path, *, is_ours: bool = False) -> None:
    """Raise OutputError now if a file `path` cannot be written later, before any work is done.

    An image is refused unless `is_ours`: this program made it.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise OutputError(f"{path} is {kind}. Expected the name of a file.")
    if path.suffix.lower() in (*SUFFIXES, *HEIF_SUFFIXES) and path.exists() and not is_ours:
        raise OutputError(f"{path} is an image and would be lost. Expected the name of another file.")
    if path.exists() and not path.stat().st_mode & _WRITE_BITS:
        raise OutputError(f"{path} is read-only.", hint="Choose another name, or allow writing: chmod u+w FILE")
    _check_place(path.parent, path)


def check_writable_folder(path: Path, *, is_replaced: bool = False) -> None:
    """Raise OutputError now if a folder `path` cannot be written later, before any work is done.

    With `is_replaced` the folder is written as a whole, beside its place; otherwise files are written into it.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise OutputError(f"{path} is a file. Expected the name of a folder.", hint="Choose another name with -o.")
    _check_place(path.parent if is_replaced or not path.is_dir() else path, path)


def _check_place(folder: Path, path: Path) -> None:
    """Raise OutputError if nothing can be created in a folder, or where it would be; nothing is left there."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    probe = place / f".probe.{secrets.token_hex(4)}"
    try:
        probe.touch()
    except NotADirectoryError as error:
        raise OutputError(f"{path} could not be written: {place} is a file. Expected a folder.") from error
    except OSError as error:
        raise write_error(error, path) from error
    finally:
        remove(probe)


def remove(path: Path) -> None:
    """Remove a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _replace_directory(draft: Path, path: Path) -> None:
    if _exchange(draft, path):
        # The earlier folder has the draft's name now, and is removed with it.
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}{drafts.OLD}")
    drafts.enter(old)
    path.replace(old)
    try:
        draft.rename(path)
    except BaseException:
        old.rename(path)
        raise
    finally:
        remove(old)
        drafts.leave(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; return False if the system cannot do that."""
    import ctypes

    try:
        swap = ctypes.CDLL(None).renameat2  # Linux
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
