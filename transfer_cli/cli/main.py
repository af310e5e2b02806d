"""The command line: one file per command, and the only place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click

from transfer_cli.cli import _shells
from transfer_cli.cli._aliases import ALIASES, ANSWERS, answer_to, fold, listed_group
from transfer_cli.cli._console import Console
from transfer_cli.cli._error_output import STOPPED, exit_code
from transfer_cli.cli._foreign_words import settings_after
from transfer_cli.cli._general_options import add_general_options, general_options
from transfer_cli.errors import DONE, nearest
from transfer_cli.io import drafts
from transfer_cli.system import hide_library_warnings, open_closed_streams, use_utf8_mode

# One row per heading of `transfer-cli --help`; the command x-y is in x_y.py.
_SECTIONS = {
    "Start here": ("demo", "auto", "extract", "predict"),
    "Train": ("finetune", "ensemble", "lr-find", "preview"),
    "Judge": ("evaluate", "compare", "leaks", "report", "rank", "learning-curve"),
    "Look": ("explain", "inspect", "similar", "map"),
    "Data": ("data", "sample-data"),
    "Use": ("export",),
    "Manage": ("runs", "recipes", "backbones", "weights", "bundle", "cache", "completion"),
}
_COMMANDS = tuple(name for names in _SECTIONS.values() for name in names)
_HIDDEN = ("help",)
"""Commands that the help does not list."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
"""Signals that end a command after its unfinished files were removed."""
_ALWAYS = ("SIGINT", "SIGTERM")
_STOPPED_AT = f"{__name__}.stopped_at"
_PATIENCE_SECONDS = 3.0
"""Within this time after a signal, further ones are ignored."""


class Group(click.Group):
    """A group that imports a command when it is called and turns errors into exit codes."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        """Run a command; as a program, which gets its arguments from Python, in UTF-8 mode and without warnings."""
        _shells.register()
        if args is None:
            open_closed_streams()
            use_utf8_mode()
            hide_library_warnings()
            sys.unraisablehook = _unraisable
        return super().main(args, *others, **options)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options before the command; an error in them is printed as those of commands are."""
        console = extra.setdefault("obj", Console(words=tuple(args)))
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            code = exit_code(error, click.Context(self, info_name=info_name, obj=console))
            if code is None:
                raise
            raise click.exceptions.Exit(code) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, section by section."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command."""
        if name not in (*_COMMANDS, *_HIDDEN):
            return None
        command: click.Command = importlib.import_module(f"transfer_cli.cli.{name.replace('-', '_')}").command
        return add_general_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings, with one column of summaries for all."""
        width = max(map(len, _COMMANDS))
        for title, names in _SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(width), command.get_short_help_str(200)) for name, command in commands if command]
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word means; answer a word that means none, or several."""
        args = [*listed_group(args)]
        name = args[0] if args[0] in _COMMANDS else fold(args[0])
        words = [*ALIASES.get(name, (name,)), *args[1:]]
        is_known = words[0].startswith("-") or self.get_command(ctx, words[0]) is not None
        if not is_known and not ctx.resilient_parsing:
            near = name if name in ANSWERS else nearest(name, {*_COMMANDS, *ALIASES, *ANSWERS} - {name}) or ""
            answer = answer_to(near, args[1:], self._settings(ctx, near, args[1:])) or (
                f"Did you mean {near}?" if near else "See: transfer-cli --help"
            )
            ctx.fail(f"No such command {args[0]!r}. {answer}")
        return super().resolve_command(ctx, words)

    def _settings(self, ctx: click.Context, word: str, arguments: Sequence[str]) -> str:
        """Return the options of finetune that were typed after a word that may mean it."""
        command = self.get_command(ctx, "finetune") if "finetune" in ANSWERS.get(word, "") else None
        return settings_after(command, arguments) if command else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and exit with the code that it returns, or with the code of its error."""
        console = ctx.ensure_object(Console)
        console.holds = True
        try:
            code = super().invoke(ctx) or DONE
            console.release()
            if sys.stdout is not None:
                # At the exit of Python, a full disk would be an "Exception ignored".
                sys.stdout.flush()
        except click.exceptions.Exit:
            console.release()
            raise
        except BaseException as error:
            if ctx.meta.get(STOPPED):
                _ignore_signals()
            code = exit_code(error, ctx)
            if code is None:
                raise
        ctx.exit(code)


def _unraisable(unraisable: Any) -> None:
    """Print an exception of a destructor as Python does, unless it closes a file of a full disk, which was reported."""
    if not isinstance(unraisable.exc_value, OSError):
        sys.__unraisablehook__(unraisable)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@general_options
@click.version_option(package_name="transfer-cli")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train an image classifier on a folder of images, and use it (transfer learning).

    A training command reads FOLDER, which has one sub-folder of images per class (e.g. photos/cat and photos/dog), and
    writes RUN, a folder with the model (RUN/model, called BUNDLE), its metrics and settings.

    Help on one command: transfer-cli COMMAND --help. All commands: docs/cli.md.

    The first four options below may also be typed after the command. Exit codes: 0 done, 2 usage, 3 input, 4 model or
    weights, 5 done but images were skipped, 6 a required quality not reached, 130 interrupted. Environment variables:
    KERAS_HOME (weights), TRANSFER_CLI_CACHE, TRANSFER_CLI_CACHE_LIMIT, TRANSFER_CLI_OFFLINE, TRANSFER_CLI_DATASETS and
    TRANSFER_CLI_MAX_IMAGE_MEMORY. All codes and variables: docs/environment.md.

    \b
    Example:
        transfer-cli demo
        transfer-cli extract photos -o runs/first
        transfer-cli predict runs/first new_photos --format table
    """
    # A Python that a library starts must not import a types.py that happens to be beside the images.
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if threading.current_thread() is threading.main_thread():
        _handle_signals(ctx)
    drafts.sweep()


def _handle_signals(ctx: click.Context) -> None:
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # nohup ignores SIGHUP, so that a command survives the terminal that it was started from.
        ignored = number is not None and name not in _ALWAYS and signal.getsignal(number) == signal.SIG_IGN
        if number is not None and not ignored:
            signal.signal(number, lambda number, frame: _stop(ctx, number))


def _ignore_signals() -> None:
    """Ignore further signals: when Python exits, it resets handlers, and a signal would end it without a message."""
    for number in filter(None, (getattr(signal, name, None) for name in _SIGNALS)):
        signal.signal(number, signal.SIG_IGN)


def _stop(ctx: click.Context, number: int) -> None:
    now = time.monotonic()
    if now - ctx.meta.get(_STOPPED_AT, -_PATIENCE_SECONDS) < _PATIENCE_SECONDS:
        return  # the first signal is being obeyed: another one would interrupt the removal of unfinished files
    # Raised as an exception, so that unfinished files are removed on the way out.
    ctx.meta.setdefault(STOPPED, 128 + number)
    ctx.meta[_STOPPED_AT] = now
    raise KeyboardInterrupt
