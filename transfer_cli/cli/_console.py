"""The only place that prints: results go to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json as json_module
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import click
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from transfer_cli.text import escaped, nan_to_null, printable

_LINE_SECONDS = 10.0
_UNLIMITED = 100_000
_DESCRIPTION = TextColumn("{task.description}", markup=False)
_plain = partial(RichConsole, highlight=False, markup=False, emoji=False)


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
    _warned: set[str] = field(default_factory=set)
    _stderr: RichConsole = field(default_factory=lambda: _plain(stderr=True))

    @property
    def rows(self) -> IO[bytes]:
        """The standard output, for rows; on a terminal with control characters escaped."""
        return cast(IO[bytes], _Terminal(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer

    def result(self, text: str, data: Any = None) -> None:
        """Print the result of a command: `text`, or with --json `data`."""
        if self.json:
            text = escaped(json_module.dumps(nan_to_null(data), indent=2, ensure_ascii=False))
        if sys.stdout.isatty():
            text = printable(text)
        click.echo(text.encode("utf-8", "surrogateescape") + b"\n", nl=False)

    def output(self, path: Path, **data: Any) -> None:
        """Print the path of what a command wrote, or with --json an object of this path and `data`."""
        self.result(str(path), {"output": str(path), **data})

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], data: Any, numeric: Collection[str] = ()
    ) -> None:
        """Print a table as the result of a command; the columns in `numeric` are aligned to the right."""
        self.result(table_text(header, rows, numeric), data)

    def note(self, *messages: str) -> None:
        """Print lines of information, unless --quiet."""
        if not self.quiet:
            self.say(*messages)

    def warn(self, *messages: str) -> None:
        """Print warnings, even with --quiet, each once."""
        new = [message for message in messages if message not in self._warned]
        self._warned.update(new)
        self.say(*(f"warning: {message}" for message in new), style="yellow")

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
            started, done = time.monotonic(), 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                if total and time.monotonic() - max(started, self.spoke) > _LINE_SECONDS:
                    self.say(f"{description}: {done} of {total}")

            yield advance
            self.say(f"{description}{f': {done}' if total else ''} ({time.monotonic() - started:.1f} s)")

    def _bar(self, total: int | None) -> RichProgress:
        columns = [_DESCRIPTION, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        waiting = [SpinnerColumn(), _DESCRIPTION, TimeElapsedColumn()]
        return RichProgress(*(waiting if total is None else columns), console=self._stderr, transient=True)

    def say(self, *messages: str, style: str | None = None) -> None:
        """Print lines to stderr."""
        for message in messages:
            self.spoke = time.monotonic()
            self._stderr.print(printable(message), style=style, soft_wrap=True)


class _Terminal(io.RawIOBase):
    """A binary file of UTF-8 text that escapes what a terminal would obey; characters are written whole."""

    def __init__(self, terminal: IO[bytes]) -> None:
        self._terminal = terminal

    def write(self, data: Any) -> int:
        self._terminal.write(printable(bytes(data).decode("utf-8", "surrogateescape")).encode())
        return len(data)

    def flush(self) -> None:
        self._terminal.flush()


pass_console = click.make_pass_decorator(Console, ensure=True)


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[str] = ()) -> str:
    """Return a table as lines of text, as wide as its cells need."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(printable(name), justify="right" if name in numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(printable(cell).replace("\n", "\\n") for cell in row))
    console = _plain(file=io.StringIO(), width=_UNLIMITED, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
