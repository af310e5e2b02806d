"""Paths that arrive on stdin, one per line, in groups that end whenever the input pauses.

A client that sends one path and waits for its answer gets it; a long list is read as fast as it arrives.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable, Iterator
from queue import Empty, Queue
from threading import Thread

from transfer_cli.errors import InputError
from transfer_cli.io.foreign_tables import encoding_of

PAUSE_SECONDS = 0.02
"""The input pauses if nothing arrives for this time."""
_CHUNK_BYTES = 1 << 16
_MAX_CHUNKS = 64
_START_BYTES = 4
"""The encoding is recognised by the first bytes."""

_Chunks = Queue[list[str] | OSError | None]


def read_stdin() -> bytes:
    """Return the next bytes of stdin as soon as there are any; none at its end."""
    try:
        number = sys.stdin.fileno()
    except OSError:  # no file of the system, in a test
        return sys.stdin.buffer.read(_CHUNK_BYTES)
    # Not through sys.stdin: its lock, held by a thread that waits for input, would be waited for at exit.
    return os.read(number, _CHUNK_BYTES)


def path_groups(read: Callable[[], bytes] = read_stdin, pause: float = PAUSE_SECONDS) -> Iterator[Iterator[str]]:
    """Yield groups of paths, each an iterator that ends when the input pauses; consume one before the next.

    Lines end with a line feed, CRLF or NUL (``find -print0``). Blank lines are left out. The text is UTF-8, with or
    without a byte order mark, or UTF-16; bytes that are not UTF-8 are kept, since a file name may have them.

    Parameters
    ----------
    read : callable
        Waits for input and returns its next bytes, none at the end.
    pause : float
        Seconds without input after which a group ends.

    Raises
    ------
    InputError
        If stdin cannot be read; the paths before that are yielded.
    """
    chunks: _Chunks = Queue(_MAX_CHUNKS)
    Thread(target=_read_all, args=(read, chunks), name="stdin", daemon=True).start()
    while (first := _next_paths(chunks)) is not None:
        ended: list[None] = []
        if first:
            yield _group(first, chunks, pause, ended)
        if ended:
            return


def _group(paths: list[str], chunks: _Chunks, pause: float, ended: list[None]) -> Iterator[str]:
    more: list[str] | None = paths
    while more is not None:
        yield from more
        try:
            more = _next_paths(chunks, pause)
        except Empty:
            return
    ended.append(None)


def _next_paths(chunks: _Chunks, timeout: float | None = None) -> list[str] | None:
    paths = chunks.get(timeout=timeout)
    if isinstance(paths, OSError):
        raise InputError(f"stdin cannot be read: {paths.strerror or paths}.") from paths
    return paths


def _read_all(read: Callable[[], bytes], chunks: _Chunks) -> None:
    try:
        for paths in _decoded(iter(read, b"")):
            chunks.put(paths)
        chunks.put(None)
    except OSError as error:
        chunks.put(error)


def _decoded(chunks: Iterator[bytes]) -> Iterator[list[str]]:
    """Yield the paths of the lines that each chunk of bytes completes."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= _START_BYTES or b"\n" in start:
            break
    encoding = encoding_of(start)
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding.startswith("utf-8") else "replace")
    rest = ""
    for data in _with_first(start, chunks):
        *lines, rest = re.split("[\n\0]", rest + decoder.decode(data))
        yield _paths(lines)
    yield _paths([rest + decoder.decode(b"", final=True)])


def _with_first(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from chunks


def _paths(lines: list[str]) -> list[str]:
    return [line.rstrip("\r") for line in lines if line.strip()]
