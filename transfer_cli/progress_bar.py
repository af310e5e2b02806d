"""A progress bar of plain text for notebooks and terminals; warnings go through `warnings`."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer_cli.errors import TransferWarning
from transfer_cli.progress import Progress
from transfer_cli.python_wording import in_python
from transfer_cli.text import printable

_PACKAGE = str(Path(__file__).parent)
_WIDTH = 30
_SECONDS = 0.1
"""Time between two drawings of a bar."""


class Warnings:
    """Issues warnings as `TransferWarning`, each once; prints nothing."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda count: None

    def note(self, message: str) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Issue a warning, with the line of the user's code that called this package."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(printable(in_python(message)), TransferWarning, stacklevel=_frames_of_package())


class ProgressBar(Warnings):
    """Draws a bar on stderr in a terminal or a notebook; into a file or pipe it writes one line per finished task."""

    def __init__(self) -> None:
        super().__init__()
        # A notebook shows what is written after a carriage return in place of the line, as a terminal does.
        self._redraws = sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._shown = 0

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Draw a bar while the block runs, and then a line with the number of steps and the seconds."""
        begun = drawn = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, drawn
            done += count
            if self._redraws and (now := time.monotonic()) - drawn > _SECONDS:
                drawn = now
                self._draw(f"{description} {_bar(done, total)}{_time_left(done, total, now - begun)}")

        if self._redraws:
            self._draw(f"{description} {_bar(0, total)}")
        try:
            yield advance
        finally:
            self._draw("")
        self.note(f"{description}{f': {done}' if done else ''} ({time.monotonic() - begun:.1f} s)")

    def note(self, message: str) -> None:
        """Write one line."""
        if sys.stderr is not None:
            sys.stderr.write(f"{printable(in_python(message))}\n")
            sys.stderr.flush()

    def _draw(self, text: str) -> None:
        """Write a text over the last one, on the same line."""
        if self._redraws and sys.stderr is not None:
            text = printable(text)
            sys.stderr.write(f"\r{text.ljust(self._shown)}" + ("" if text else "\r"))
            sys.stderr.flush()
            self._shown = len(text)


def progress_of(progress: bool | Progress) -> Progress:
    """Return what a function reports to: a bar if True, warnings alone if False, or an object as it is.

    Raises
    ------
    TypeError
        If it is neither a bool nor an object with the methods of `Progress`.
    """
    if isinstance(progress, bool):
        return ProgressBar() if progress else Warnings()
    if isinstance(progress, Progress):
        return progress
    raise TypeError(
        "Expected progress=True (a bar), False (silent), or an object with the methods track, note and warn. "
        f"Received: {progress!r}."
    )


def _bar(done: int, total: int | None) -> str:
    if not total:
        return f"{done or '...'}"
    filled = min(_WIDTH, _WIDTH * done // total)
    return f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done}/{total} {100 * done // total} %"


def _time_left(done: int, total: int | None, seconds: float) -> str:
    return f", {seconds / done * (total - done):.0f} s left" if total and 0 < done < total else ""


def _frames_of_package() -> int:
    """Return the `stacklevel` of the first caller outside of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_internal(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def _is_internal(file: str) -> bool:
    return file.startswith(_PACKAGE) or Path(file).name == "contextlib.py"
