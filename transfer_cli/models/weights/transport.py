"""Download one file, with a limit on stalls and on its size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from transfer_cli.models.weights.connection import STALL_SECONDS, failure_reason
from transfer_cli.progress import Progress
from transfer_cli.text import megabytes

_BLOCK = 1 << 18


class NotReceivedError(Exception):
    """A file that did not arrive, or not whole; the message is the reason in plain words."""


def receive(url: str, name: str, target: Path, progress: Progress, most_bytes: int | None = None) -> None:
    """Download the file at `url` to `target`.

    Parameters
    ----------
    url, name : str
        The address, and what the progress is called.
    target : Path
    progress : Progress
    most_bytes : int, optional
        End the download when more have arrived: it is another file.

    Raises
    ------
    NotReceivedError
        If it does not arrive, or not whole.
    OSError
        If `target` cannot be written.
    """
    import pooch

    try:
        with ExitStack() as stack:
            bar = _ProgressBar(name, progress, stack, most_bytes)
            transport = pooch.HTTPDownloader(progressbar=bar, chunk_size=_BLOCK, timeout=STALL_SECONDS)
            transport(url, str(target), None)
    except NotReceivedError:
        raise
    except Exception as error:  # a proxy may answer with anything
        if isinstance(error, OSError) and error.errno:
            raise  # of the file, not of the connection, whose errors requests wraps without a number
        raise NotReceivedError(failure_reason(error, url, STALL_SECONDS)) from error


class _ProgressBar:
    """What pooch expects of a progress bar, as a task in MB; pooch sets `total`, in bytes, before the first update."""

    total = 0

    def __init__(self, name: str, progress: Progress, stack: ExitStack, most_bytes: int | None) -> None:
        self._name, self._progress, self._stack, self._most_bytes = name, progress, stack, most_bytes
        self._received = self._shown = 0

    @cached_property
    def _advance(self) -> Callable[[int], None]:
        return self._stack.enter_context(self._progress.track(f"{self._name}, MB", _megabytes(self.total) or None))

    def update(self, count: int) -> None:
        self._received += count
        if self._most_bytes is not None and self._received > self._most_bytes:
            raise NotReceivedError(f"more than {megabytes(self._most_bytes)} arrived, so that it is another file")
        shown = _megabytes(min(self._received, self.total or self._received))
        self._advance(shown - self._shown)
        self._shown = shown

    def reset(self) -> None:
        """Do nothing: pooch resets a bar only to fill it at the end."""

    def close(self) -> None:
        """Do nothing: the task ends with the download."""


def _megabytes(count: int) -> int:
    return -(-count // 10**6)
