"""The command line: one file per command, and the only place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import click

from transfer_cli.cli import _shells
from transfer_cli.cli._aliases import ALIASES, ANSWERS, answer_to, answer_to_option, fold
from transfer_cli.cli._console import Console
from transfer_cli.errors import DONE, InputError, ShortageError, TransferError, nearest
from transfer_cli.io import drafts
from transfer_cli.io.cache import parse_size
from transfer_cli.system import hide_library_warnings, open_closed_streams, use_utf8_mode
from transfer_cli.text import printable

# One row per heading of `transfer-cli --help`; the command x-y is in x_y.py.
_SECTIONS = {
    "Start here": ("demo", "auto", "extract", "predict"),
    "Train": ("finetune", "ensemble", "lr-find", "preview"),
    "Judge": ("evaluate", "compare", "leaks", "report", "rank"),
    "Look": ("explain", "inspect", "similar", "map"),
    "Data": ("data", "sample-data"),
    "Use": ("export",),
    "Manage": ("runs", "recipes", "backbones", "weights", "bundle", "cache", "completion"),
}
_COMMANDS = tuple(name for names in _SECTIONS.values() for name in names)
_HIDDEN = ("help",)
"""Commands that the help does not list."""
_GROUP_FLAGS = ("--quiet", "--json", "--offline", "--max-image-memory")
IMAGE_MEMORY = "TRANSFER_CLI_MAX_IMAGE_MEMORY"
"""Environment variable that `data.decoding_cost` reads."""
_INTERRUPTED = 130
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
"""Signals that end a command after its unfinished files were removed."""
_ALWAYS = ("SIGINT", "SIGTERM")
_STOPPED = f"{__name__}.stopped"
_STOPPED_AT = f"{__name__}.stopped_at"
_PATIENCE_SECONDS = 3.0
"""Within this time after a signal, further ones are ignored."""
_BROKEN_PIPE = 141
_NOTHING_LEFT = "No partial files were left; run the same command again."


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
        try:
            return super().main(args, *others, **options)
        except OSError as error:
            # --help and --version are printed before a command is invoked.
            if args is not None or sys.stdout is None or not error.errno:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            Console().error(f"standard output: {os.strerror(error.errno)}.", None)
            sys.exit(InputError.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, section by section."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command."""
        if name not in (*_COMMANDS, *_HIDDEN):
            return None
        command: click.Command = importlib.import_module(f"transfer_cli.cli.{name.replace('-', '_')}").command
        return command

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
        name = args[0] if args[0] in _COMMANDS else fold(args[0])
        words = [*ALIASES.get(name, (name,)), *args[1:]]
        is_known = words[0].startswith("-") or self.get_command(ctx, words[0]) is not None
        if not is_known and not ctx.resilient_parsing:
            near = name if name in ANSWERS else nearest(name, {*_COMMANDS, *ALIASES, *ANSWERS} - {name}) or ""
            answer = answer_to(near, args[1:]) or (f"Did you mean {near}?" if near else "See: transfer-cli --help")
            ctx.fail(f"No such command {args[0]!r}. {answer}")
        return super().resolve_command(ctx, words)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and exit with the code that it returns, or with the code of its error."""
        try:
            code = super().invoke(ctx) or DONE
            if sys.stdout is not None:
                # At the exit of Python, a full disk would be an "Exception ignored".
                sys.stdout.flush()
        except BaseException as error:
            code = _exit_code(error, ctx)
            if code is None:
                raise
        ctx.exit(code)


def _unraisable(unraisable: Any) -> None:
    """Print an exception of a destructor as Python does, unless it closes a file of a full disk, which was reported."""
    if not isinstance(unraisable.exc_value, OSError):
        sys.__unraisablehook__(unraisable)


def _exit_code(error: BaseException, ctx: click.Context) -> int | None:
    """Print the error and return its exit code, or None if click or Python should handle it."""
    console: Console = ctx.ensure_object(Console)
    stopped = ctx.meta.get(_STOPPED)
    # Some libraries catch KeyboardInterrupt and raise another error instead.
    if stopped:
        _ignore_signals()
    if stopped or isinstance(error, KeyboardInterrupt | click.Abort):
        console.say(f"Interrupted. {ctx.meta.get('resume_hint', _NOTHING_LEFT)}", style="red")
        return stopped or _INTERRUPTED
    if isinstance(error, TransferError):
        # A library that found no memory to be loaded is not missing.
        shown: TransferError = (ShortageError.of(error.__cause__) if error.__cause__ else None) or error
        console.error(str(shown), shown.hint)
        return shown.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader closed the pipe (e.g. `head`); the rest of the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    if shortage := ShortageError.of(error):
        console.error(str(shortage), shortage.hint)
        return shortage.exit_code
    if isinstance(error, OSError) and error.errno:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        console.error(f"{error.filename or 'standard output'}: {error.strerror or os.strerror(error.errno)}.", None)
        return InputError.exit_code
    if isinstance(error, click.ClickException):
        vars(error)["message"] = printable(error.message)
    if isinstance(error, click.NoSuchOption) and (answer := answer_to_option(error)):
        raise click.UsageError(f"{error.message} {answer}", error.ctx) from None
    if isinstance(error, click.NoSuchOption) and error.option_name in _GROUP_FLAGS:
        flag = error.option_name
        raise click.UsageError(f"{flag} goes before the command: transfer-cli {flag} ...", error.ctx) from None
    return None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", is_flag=True, help="Print only results, warnings and errors.")
@click.option("--json", "json_", is_flag=True, help="Print results to stdout as JSON.")
@click.option(
    "--offline",
    is_flag=True,
    envvar="TRANSFER_CLI_OFFLINE",
    help="Never connect to the internet, not even to download pretrained weights.",
)
@click.option(
    "--max-image-memory",
    metavar="SIZE",
    envvar=IMAGE_MEMORY,
    help="Skip images that need more memory to decode, e.g. 2GB; files may declare any size.  [600MB]",
)
@click.version_option(package_name="transfer-cli")
@click.pass_context
def main(ctx: click.Context, quiet: bool, json_: bool, offline: bool, max_image_memory: str | None) -> None:
    """Train an image classifier on a folder of images, and use it (transfer learning).

    A training command reads FOLDER, which has one sub-folder of images per class (e.g. photos/cat and photos/dog), and
    writes RUN, a folder with the model (RUN/model, called BUNDLE), its metrics and settings.

    Help on one command: transfer-cli COMMAND --help. All commands: docs/cli.md.

    \b
    Example:
        transfer-cli demo
        transfer-cli extract photos -o runs/first
        transfer-cli predict runs/first new_photos --format table
    """
    console = ctx.ensure_object(Console)
    console.quiet, console.json, console.offline = quiet, json_, offline
    # A Python that a library starts must not import a types.py that happens to be beside the images.
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if max_image_memory:
        parse_size(max_image_memory)
        os.environ[IMAGE_MEMORY] = max_image_memory
    if offline:
        # urllib3, which Keras imports, opens and binds a socket to find out whether IPv6 works.
        socket.has_ipv6 = False
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
    ctx.meta.setdefault(_STOPPED, 128 + number)
    ctx.meta[_STOPPED_AT] = now
    raise KeyboardInterrupt
