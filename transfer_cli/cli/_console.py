"""The only place that prints: results go to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json as json_module
import shutil
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import click
from rich.console import Console as RichConsole

from transfer_cli.cli._progress_display import ProgressBars, ProgressLines, terminal_stderr
from transfer_cli.cli._tables import table_text as table_text
from transfer_cli.progress import SILENT
from transfer_cli.text import escaped, nan_to_null, printable

_plain = partial(RichConsole, highlight=False, markup=False, emoji=False)


def _stderr() -> RichConsole:
    terminal = terminal_stderr()
    return _plain(file=terminal) if terminal else _plain(stderr=True)


@dataclass
class Console:
    """The output of a command; also the `Progress` that is passed to the functions below `cli`.

    Attributes
    ----------
    quiet : bool
        Print only results, warnings and errors.
    json : bool
        Print results as JSON on stdout, and an error as JSON on stderr.
    offline : bool
        Never open a socket.
    spoke : float
        Time of the last printed line, by time.monotonic.
    words : tuple of str
        The command line, without the name of the program.
    holds : bool
        With --json, keep all output until `release`: a command that fails prints its error and nothing else.
    """

    quiet: bool = False
    json: bool = False
    offline: bool = False
    spoke: float = 0.0
    words: tuple[str, ...] = ()
    holds: bool = False
    _results: list[bytes] = field(default_factory=list)
    _lines: list[tuple[str, str | None]] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)
    _stderr: RichConsole = field(default_factory=_stderr)
    _bars: ProgressBars | None = None

    @property
    def rows(self) -> IO[bytes]:
        """The standard output, for rows; on a terminal with control characters escaped."""
        return cast(IO[bytes], _Terminal(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer

    def result(self, text: str, data: Any = None) -> None:
        """Print the result of a command: `text`, or with --json `data`."""
        if self.json:
            text = _json_text(data, indent=2)
        if sys.stdout.isatty():
            text = printable(text)
        self._results.append(text.encode("utf-8", "surrogateescape") + b"\n")
        if not self._is_held:
            self.release()

    def release(self) -> None:
        """Print what was held."""
        results, self._results = self._results, []
        for line in results:
            click.echo(line, nl=False)
        lines, self._lines = self._lines, []
        for text, style in lines:
            self._print(text, style)

    @property
    def _is_held(self) -> bool:
        return self.json and self.holds

    def output(self, path: Path, **data: Any) -> None:
        """Print the path of what a command wrote, or with --json an object of this path and `data`."""
        self.result(str(path), {"output": str(path), **data})

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], data: Any, numeric: Collection[str] = ()
    ) -> None:
        """Print a table as the result of a command; the columns in `numeric` are aligned to the right."""
        self.result(table_text(header, rows, numeric, terminal_width()), data)

    def note_table(self, header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[str] = ()) -> None:
        """Print a table as information, unless --quiet."""
        self.note(table_text(header, rows, numeric, self._stderr.width if self._stderr.is_terminal else None))

    def note(self, *messages: str) -> None:
        """Print lines of information, unless --quiet."""
        if not self.quiet:
            self.say(*messages)

    def warn(self, *messages: str) -> None:
        """Print warnings, even with --quiet, each once."""
        new = dict.fromkeys(message for message in messages if message not in self._warned)
        self._warned.update(new)
        self.say(*(f"warning: {message}" for message in new), style="yellow")

    def error(self, message: str, hint: str | None, *, code: int, kind: str) -> None:
        """Print what went wrong and what to do next; with --json as one object, and nothing that was held."""
        if self.json:
            error = {"code": code, "type": kind, "message": message, "hint": hint}
            self._print(_json_text({"error": error}))
            return
        self.say(f"error: {message}", style="red")
        if hint:
            self.say(hint)

    def track(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Show the progress of a step: a bar on a terminal, lines elsewhere."""
        if self.quiet:
            return SILENT.track(description, total)
        if self._stderr.is_terminal:
            self._bars = self._bars or ProgressBars(self._stderr)
            return self._bars.track(description, total)
        if self.json:
            return SILENT.track(description, total)
        return ProgressLines(self.say, lambda: self.spoke).track(description, total)

    def say(self, *messages: str, style: str | None = None) -> None:
        """Print lines to stderr."""
        self._lines += [(message, style) for message in messages]
        if not self._is_held:
            self.release()

    def _print(self, text: str, style: str | None = None) -> None:
        self.spoke = time.monotonic()
        self._stderr.print(printable(text), style=style, soft_wrap=True)


def terminal_width() -> int | None:
    """Return the number of columns of the terminal that the results go to; None if they go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _json_text(data: Any, indent: int | None = None) -> str:
    return escaped(json_module.dumps(nan_to_null(data), indent=indent, ensure_ascii=False))


class _Terminal(io.RawIOBase):
    """A binary file of UTF-8 text that escapes what a terminal would obey; characters are written whole."""

    def __init__(self, terminal: IO[bytes]) -> None:
        self._terminal = terminal

    def write(self, data: Any) -> int:
        self._terminal.write(printable(bytes(data).decode("utf-8", "surrogateescape")).encode())
        return len(data)

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self._terminal.flush()


pass_console = click.make_pass_decorator(Console, ensure=True)
