"""Files that are there whole or not at all: written beside their place, then renamed."""

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
from transfer_cli.io.discovery import SUFFIXES


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a place to write to, which becomes `path` when the block ends without an error.

    Parameters
    ----------
    path : Path
        The file or directory to make. Its parent directories are made. An existing file is replaced in
        one step; an existing directory is moved away first and removed afterwards.

    Raises
    ------
    OutputError
        When the file system refuses: permission, space, a file where a directory should be.
    """
    # The suffix stays last, since libraries choose a format by it.
    place = _named(path)
    draft = place.with_name(f".{place.stem}.{secrets.token_hex(4)}{place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if draft.is_dir():
            _replace_directory(draft, place)
        else:
            _flush(draft)
            draft.replace(place)
    except OSError as error:
        raise refused(error, path) from error
    finally:
        remove(draft)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with line feeds; names that are not UTF-8 keep their bytes."""
    with written_whole(path) as draft:
        draft.write_bytes(text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def refused(error: OSError, path: Path) -> OutputError:
    """Return what to tell a person when the file system refused to write `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return OutputError(
        f"{path} could not be written: {reason}. Nothing half-written was left.",
        hint="Make room, then give the same command again." if full else "Choose another place to write to.",
    )


def must_be_ours(target: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Raise OutputError where a directory that is to be replaced as a whole holds anything but what was written there.

    To be called before the work.

    Parameters
    ----------
    target : Path
        It need not be there.
    is_ours : callable
        Whether something in it was written by this program.
    what : str
        What belongs there, for a person: "no explanation".
    """
    another = "Choose another place with -o DIR."
    if Path.cwd().is_relative_to(target.resolve()):
        raise OutputError(
            f"{target} is the folder that you are in, or holds it, and would be replaced as a whole.",
            hint="Give the name of a new folder in it: -o NAME" if target.resolve() == Path.cwd() else another,
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{target} is a file. Expected the name of a folder.")
    try:
        others = [path.name for path in target.iterdir() if path.is_dir() or not is_ours(path)]
    except OSError as error:
        raise refused(error, target) from error
    if others:
        raise OutputError(f"{target} holds {min(others)}, which is {what}, and would be lost.", hint=another)


def must_be_writable(path: Path) -> None:
    """Raise OutputError now if `path` cannot be written later, so that no work is done for nothing."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Expected the name of a file.")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no regular file. Expected the name of a file.")
    if path.suffix.lower() in SUFFIXES and path.exists():
        raise OutputError(f"{path} is a picture, and would be lost. Expected the name of another file.")
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise refused(error, path) from error
    finally:
        remove(probe)


def remove(path: Path) -> None:
    """Remove a file or a directory if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _named(path: Path) -> Path:
    """Return a path whose last part is a name, which that of the working directory is not."""
    return path.resolve() if path.name in ("", "..") else path


def _replace_directory(draft: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    if path.exists():
        path.replace(old)
    draft.replace(path)
    remove(old)


def _flush(path: Path) -> None:
    # A rename may reach the disk before the data does; after a power cut the name must not point at nothing.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
