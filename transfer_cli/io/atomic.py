"""Atomic writes: a file or folder is written beside its target, flushed to the disk, then renamed."""

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
        target.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if draft.is_dir():
            _replace_directory(draft, target)
        else:
            # A rename may reach the disk before the data; after a power cut the name would belong to an empty file.
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(target)
    except OSError as error:
        raise write_error(error, path) from error
    finally:
        remove(draft)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is removed at the end.

    Its name is known before it exists: unlike one of `tempfile`, it is removed even if the program is interrupted while
    it is being created.

    Raises
    ------
    OutputError
        If the file system refuses to create it.
    """
    folder = parent / f"{prefix}{secrets.token_hex(4)}"
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise write_error(error, parent) from error
        yield folder
    finally:
        remove(folder)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with line feeds; file names that are not UTF-8 keep their bytes."""
    with atomic_write(path) as draft:
        draft.write_bytes(text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_error(error: OSError, path: Path) -> OutputError:
    """Return the error to raise when the file system refused to write `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return OutputError(
        f"{path} could not be written: {reason}. No partial files were left.",
        hint="Free disk space, then run the same command again." if full else "Choose another place to write to.",
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


def check_writable(path: Path) -> None:
    """Raise OutputError now if `path` cannot be written later, before any work is done."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise OutputError(f"{path} is {kind}. Expected the name of a file.")
    if path.suffix.lower() in SUFFIXES and path.exists():
        raise OutputError(f"{path} is an image and would be lost. Expected the name of another file.")
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
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
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    if path.exists():
        path.replace(old)
    draft.replace(path)
    remove(old)
