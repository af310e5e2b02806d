"""Errors become a message, or with ``--json`` an object on stderr, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import click

from transfer_cli.cli._aliases import answer_to_sub_command, words_after
from transfer_cli.cli._console import Console
from transfer_cli.cli._foreign_words import answer_to_arguments, answer_to_option
from transfer_cli.cli._missing_argument import answer_to_missing
from transfer_cli.errors import BUG, InputError, ModelError, ShortageError, TransferError
from transfer_cli.text import printable

INTERRUPTED = 130
STOPPED = f"{__name__}.stopped"
"""Key of `click.Context.meta`: the exit code of the signal that ended the command."""
RESUME_HINT = "resume_hint"
"""Key of `click.Context.meta`: what is left after an interruption."""
_BROKEN_PIPE = 141
_NOTHING_LEFT = "No partial files were left; run the same command again."
_BUG = "This is a bug of transfer-cli. Run the command without --json to see where it happened."


def exit_code(error: BaseException, ctx: click.Context) -> int | None:
    """Print the error and return its exit code, or None if click or Python should handle it."""
    console: Console = ctx.ensure_object(Console)
    stopped = ctx.meta.get(STOPPED)
    # Some libraries catch KeyboardInterrupt and raise another error instead.
    if stopped or isinstance(error, KeyboardInterrupt | click.Abort):
        return _interrupted(console, stopped or INTERRUPTED, ctx.meta.get(RESUME_HINT, _NOTHING_LEFT))
    if isinstance(error, TransferError):
        # A library that found no memory to be loaded is not missing.
        shortage = ShortageError.of(error.__cause__) if error.__cause__ else None
        return _failed(console, shortage or error, answer=None if shortage else _answer_to_path(error, ctx, console))
    if isinstance(error, BrokenPipeError):
        # The reader closed the pipe (e.g. `head`); the rest of the buffer must not raise again at exit.
        _discard_output()
        return _BROKEN_PIPE
    if shortage := ShortageError.of(error):
        return _failed(console, shortage)
    if isinstance(error, OSError) and error.errno:
        _discard_output()
        return _failed(console, output_error(error))
    if isinstance(error, click.UsageError) and (answer := _answer(error, console)):
        message = error.message or error.format_message()
        explained = click.UsageError(f"{message.removesuffix('.')}. {answer}", error.ctx)
        if (code := _misused(console, explained)) is None:
            raise explained from None
        return code
    if isinstance(error, click.ClickException):
        return _misused(console, error)
    is_bug = isinstance(error, Exception) and not isinstance(error, click.exceptions.Exit)
    return _bug(console, error) if is_bug and console.json else None


def _answer(error: click.UsageError, console: Console) -> str | None:
    """Return what to type instead of a word that click does not know; None if that is not known."""
    command = error.ctx.command if error.ctx else None
    if command is None:
        return None
    if isinstance(error, click.NoSuchOption):
        return answer_to_option(error, console.words)
    if isinstance(error, click.MissingParameter):
        return answer_to_missing(error.ctx) if error.ctx else None
    if isinstance(command, click.Group):
        return answer_to_sub_command(error, console.words)
    if error.message.startswith("Got unexpected extra argument") and "=" in error.message:
        return answer_to_arguments(command, words_after(command, console.words))
    return None


def _answer_to_path(error: TransferError, ctx: click.Context, console: Console) -> str | None:
    """Return what to type if a path that is missing was typed as ``data=photos``."""
    group, name = ctx.command, ctx.invoked_subcommand
    command = group.get_command(ctx, name) if isinstance(group, click.Group) and name else None
    if command is None or isinstance(command, click.Group) or not isinstance(error, InputError | ModelError):
        return None
    words = words_after(command, console.words)
    return (
        answer_to_arguments(command, words) if any(f"{word}" in str(error) and "=" in word for word in words) else None
    )


def output_error(error: OSError) -> InputError:
    """Return the error of a file or stream that the system refused to read or write."""
    return InputError(f"{error.filename or 'standard output'}: {error.strerror or os.strerror(error.errno or 0)}.")


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted(console: Console, code: int, hint: str) -> int:
    if console.json:
        console.error("Interrupted.", hint, code=code, kind="Interrupted")
    else:
        console.say(f"Interrupted. {hint}", style="red")
    return code


def _failed(console: Console, error: TransferError, answer: str | None = None) -> int:
    console.error(str(error), answer or error.hint, code=error.exit_code, kind=type(error).__name__)
    return error.exit_code


def _misused(console: Console, error: click.ClickException) -> int | None:
    """Print an error of click as JSON if that was asked for, also where --json was not read before the error."""
    vars(error)["message"] = printable(error.message)
    typed = console.words[: console.words.index("--")] if "--" in console.words else console.words
    console.json = console.json or "--json" in typed
    if not console.json:
        return None
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "transfer-cli"
    message = "Missing command." if isinstance(error, click.exceptions.NoArgsIsHelpError) else error.format_message()
    console.error(message, f"Try: {path} --help", code=error.exit_code, kind="UsageError")
    return error.exit_code


def _bug(console: Console, error: BaseException) -> int:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}, line {frame.lineno}"
    console.error(f"{type(error).__name__}: {error} ({where})", _BUG, code=BUG, kind="Bug")
    return BUG
