"""The only place that prints: results go to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json as json_module
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import click
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from transfer_cli.text import printable

_LINE_SECONDS = 10.0
_UNLIMITED = 100_000


@dataclass
class Console:
    """The output of a command; also the `Progress` that is passed to the functions below `cli`.

    Attributes
    ----------
    quiet : bool
        Print only results, warnings and errors.
    json : bool
        Print results as JSON.
    offline : bool
        Never open a socket.
    spoke : float
        Time of the last printed line, by time.monotonic.
    """

    quiet: bool = False
    json: bool = False
    offline: bool = False
    spoke: float = 0.0
    _stderr: RichConsole = field(
        default_factory=lambda: RichConsole(stderr=True, highlight=False, markup=False, emoji=False)
    )

    @property
    def rows(self) -> IO[bytes]:
        """The standard output, for rows."""
        return sys.stdout.buffer

    def result(self, text: str, data: Any = None) -> None:
        """Print the result of a command: `text`, or with --json `data`."""
        if self.json:
            text = json_module.dumps(data, indent=2, ensure_ascii=False)
        click.echo(text.encode("utf-8", "surrogateescape") + b"\n", nl=False)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], data: Any, numeric: Collection[str] = ()
    ) -> None:
        """Print a table as the result of a command; the columns in `numeric` are aligned to the right."""
        self.result(table_text(header, rows, numeric), data)

    def note(self, message: str) -> None:
        """Print one line of information, unless --quiet."""
        if not self.quiet:
            self.say(message)

    def warn(self, message: str) -> None:
        """Print a warning, even with --quiet."""
        self.say(f"warning: {message}", style="yellow")

    def error(self, message: str, hint: str | None) -> None:
        """Print what went wrong and what to do next."""
        self.say(f"error: {message}", style="red")
        if hint:
            self.say(hint)

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on a terminal; elsewhere print a line every 10 seconds."""
        if self.quiet:
            yield lambda count: None
        elif self._stderr.is_terminal:
            with self._bar(total) as bar:
                task = bar.add_task(printable(description), total=total)
                yield lambda count: bar.advance(task, count)
        else:
            lines = _Lines(description, total, self)
            yield lines.advance
            lines.end()

    def _bar(self, total: int | None) -> RichProgress:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        waiting = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
        return RichProgress(*(waiting if total is None else columns), console=self._stderr, transient=True)

    def say(self, message: str, style: str | None = None) -> None:
        """Print one line to stderr."""
        self.spoke = time.monotonic()
        self._stderr.print(printable(message), style=style, soft_wrap=True)


class _Lines:
    """Progress without a terminal: a line after 10 seconds of silence, and one at the end."""

    def __init__(self, description: str, total: int | None, console: Console) -> None:
        self._description = description
        self._total = total
        self._console = console
        self._done = 0
        self._started = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        silent_since = max(self._started, self._console.spoke)
        if self._total and time.monotonic() - silent_since > _LINE_SECONDS:
            self._console.say(f"{self._description}: {self._done} of {self._total}")

    def end(self) -> None:
        done = f": {self._done}" if self._total else ""
        self._console.say(f"{self._description}{done} ({time.monotonic() - self._started:.1f} s)")


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[str] = ()) -> str:
    """Return a table as lines of text, as wide as its cells need."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, justify="right" if name in numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(printable(cell).replace("\n", "\\n") for cell in row))
    console = RichConsole(
        file=io.StringIO(), width=_UNLIMITED, color_system=None, highlight=False, markup=False, emoji=False
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
