"""Open a file that the user names: never a pipe, a device or a file of the system, which may block or have no end."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import cache
from io import BufferedReader
from pathlib import Path

_SYSTEM_FOLDERS = ("/proc", "/sys")
_KINDS = {
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


class NotRegularError(OSError):
    """A file that is not opened: a pipe, a device, a file of the system, or one that is too large."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: Path, *, most_bytes: int | None = None) -> BufferedReader:
    """Open a regular file to read its bytes; a link is followed.

    Parameters
    ----------
    path : Path
    most_bytes : int, optional
        The largest accepted file.

    Raises
    ------
    OSError
        If it cannot be opened, is no regular file,
        lies in /proc or /sys, or is larger than `most_bytes`; `strerror` says so.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        found = os.fstat(descriptor)
        if reason := problem_of(found, most_bytes):
            raise NotRegularError(errno.EINVAL, reason, str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Return the content of a file as `open_regular` opens it."""
    with open_regular(path, most_bytes=most_bytes) as file:
        return file.read() if most_bytes is None else file.read(most_bytes + 1)


def read_regular_text(path: Path) -> str:
    """Return the text in a file as `open_regular` opens it; bytes that are not UTF-8 are kept as lone surrogates."""
    return read_regular(path).decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def problem_of(found: os.stat_result, most_bytes: int | None = None) -> str | None:
    """Return why a file with this status is not for reading, as `open_regular` would say; None if it is."""
    if stat.S_ISDIR(found.st_mode):
        return "it is a folder, expected a file"
    if not stat.S_ISREG(found.st_mode):
        return f"{_KINDS.get(stat.S_IFMT(found.st_mode), 'it is no regular file')}, expected a regular file"
    if found.st_dev in _system_devices():
        return "it is a file of the operating system, in /proc or /sys; expected a regular file"
    if most_bytes is not None and found.st_size > most_bytes:
        return f"it has {found.st_size:,} bytes, expected {most_bytes:,} at most"
    return None


@cache
def _system_devices() -> frozenset[int]:
    """Return the file systems whose files are made by the system while they are read: they may wait, or have no end."""
    devices = set()
    for folder in _SYSTEM_FOLDERS:
        with suppress(OSError):
            devices.add(os.stat(folder).st_dev)  # noqa: PTH116
    with suppress(OSError):
        devices.discard(os.stat("/").st_dev)  # noqa: PTH116
    return frozenset(devices)
