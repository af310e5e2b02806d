"""How far a step is: bars that move on a terminal, and lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from transfer_cli.text import format_duration, printable

_LINE_SECONDS = 10.0
_BAR_WIDTH = 12
_DESCRIPTION = Column(no_wrap=True, overflow="ellipsis", ratio=1)


class ProgressBars:
    """A line per running step on a terminal: a spinner, a bar, the percentage and the time left.

    A step inside another one gets its own line. All lines disappear when the steps end.
    """

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._bars: RichProgress | None = None

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a step while the block runs; yield the function that reports finished parts of it."""
        outermost = self._bars is None
        bars = self._bars = self._bars or self._new_bars()
        if outermost:
            bars.start()
        task = bars.add_task(printable(description), total=total)
        try:
            yield lambda count: bars.advance(task, count)
        finally:
            if outermost:
                bars.stop()
                self._bars = None
            else:
                bars.remove_task(task)

    def _new_bars(self) -> RichProgress:
        description = TextColumn("{task.description}", markup=False, table_column=_DESCRIPTION)
        bar = BarColumn(None, table_column=Column(width=_BAR_WIDTH))
        state = _State(table_column=Column(no_wrap=True))
        columns = (SpinnerColumn(), description, bar, state)
        # Rows written to stdout meanwhile belong there, which may be a file.
        return RichProgress(*columns, console=self._console, transient=True, expand=True, redirect_stdout=False)


class _State(ProgressColumn):
    """Finished parts, percentage and time left; the seconds so far where the total is not known."""

    max_refresh = 0.2

    def render(self, task: Task) -> Text:
        """Return the text of one step."""
        elapsed, done = task.elapsed or 0.0, round(task.completed)
        if not done:
            return Text(format_duration(elapsed))
        return Text(_state(done, None if task.total is None else round(task.total), elapsed))


class ProgressLines:
    """A line where a step starts and, in long ones, every 10 seconds: for log files and pipes.

    Parameters
    ----------
    say : callable
        Prints one line.
    spoke : callable
        Returns the time of the last printed line, by time.monotonic.
    """

    def __init__(self, say: Callable[[str], None], spoke: Callable[[], float]) -> None:
        self._say, self._spoke = say, spoke

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Print that a step starts; yield the function that reports finished parts of it."""
        started, done = time.monotonic(), 0
        self._say(f"{description}: {total}" if total else description)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            now = time.monotonic()
            if done and now - max(started, self._spoke()) > _LINE_SECONDS:
                self._say(f"{description}: {_state(done, total, now - started)}")

        yield advance
        if (seconds := time.monotonic() - started) > _LINE_SECONDS:
            self._say(f"{description}: done in {format_duration(seconds)}")


def _state(done: int, total: int | None, seconds: float) -> str:
    """Return how far a step is after some seconds."""
    if not total:
        return f"{done}, {format_duration(seconds)}"
    # Steps of some minutes each have no speed of the last seconds.
    left = format_duration(max(0, total - done) * seconds / done)
    return f"{done} of {total} ({100 * done / total:.0f} %), about {left} left"


def terminal_stderr() -> TextIO | None:
    """Return a stream of its own to the terminal of stderr; None if stderr is none.

    While a native library is imported, what is written to stderr is captured; the spinner must go on all the same.
    """
    stream = sys.__stderr__
    if stream is None or sys.stderr is not stream or not stream.isatty():
        return None
    return open(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
