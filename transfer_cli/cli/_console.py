"""The only place that prints: stdout is the product, stderr the talk."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import click
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from transfer_cli.text import printable

_LINE_SECONDS = 10.0


@dataclass
class Console:
    """Where a command's words go; it is the engine's Progress, too.

    Attributes
    ----------
    quiet : bool
        No talk: results, warnings and errors only.
    json : bool
        Results as JSON.
    offline : bool
        Never open a socket.
    spoke : float
        When the last line was said.
    """

    quiet: bool = False
    json: bool = False
    offline: bool = False
    spoke: float = 0.0
    _talk: RichConsole = field(default_factory=lambda: RichConsole(stderr=True, highlight=False, markup=False))

    @property
    def rows(self) -> IO[bytes]:
        """The standard output, for rows."""
        return sys.stdout.buffer

    def result(self, text: str, facts: Any = None) -> None:
        """Print the product of a command: `text`, or `facts` as JSON where that was asked for."""
        if self.json:
            text = json_module.dumps(facts, indent=2, ensure_ascii=False)
        click.echo(text.encode("utf-8", "surrogateescape") + b"\n", nl=False)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], facts: Any) -> None:
        """Print a table in columns."""
        self.result("\n".join(self.columns(header, rows)), facts)

    @staticmethod
    def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the lines of a table, words to the left and numbers to the right."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        numeric = [all(_is_number(cell) for cell in column) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in [header, *rows]
        ]

    def note(self, message: str) -> None:
        """Say one line to a person who waits."""
        if not self.quiet:
            self.say(message)

    def warn(self, message: str) -> None:
        """Say one line that also a quiet command says."""
        self.say(f"warning: {message}", style="yellow")

    def error(self, message: str, hint: str | None) -> None:
        """Say what went wrong and what to do next."""
        self.say(f"error: {message}", style="red")
        if hint:
            self.say(hint)

    @contextmanager
    def track(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar on a terminal, a line now and then elsewhere."""
        if self.quiet:
            yield lambda count: None
        elif self._talk.is_terminal:
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
        return RichProgress(*(waiting if total is None else columns), console=self._talk, transient=True)

    def say(self, message: str, style: str | None = None) -> None:
        """Write one line to stderr."""
        self.spoke = time.monotonic()
        self._talk.print(printable(message), style=style, soft_wrap=True)


class _Lines:
    """Progress where no bar can move: a line when nothing was said for ten seconds, and one at the end."""

    def __init__(self, description: str, total: int | None, console: Console) -> None:
        self._description = description
        self._total = total
        self._console = console
        self._done = 0
        self._begun = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        silent_since = max(self._begun, self._console.spoke)
        if self._total and time.monotonic() - silent_since > _LINE_SECONDS:
            self._console.say(f"{self._description}: {self._done} of {self._total}")

    def end(self) -> None:
        done = f": {self._done}" if self._total else ""
        self._console.say(f"{self._description}{done} ({time.monotonic() - self._begun:.1f} s)")


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").replace(" ", "").isdigit() or cell == "-"
