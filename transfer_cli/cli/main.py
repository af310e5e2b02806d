"""The command line: one file a command, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.errors import InputError, TransferError, nearest

_COMMANDS = {
    "auto": "auto",
    "rank": "rank",
    "extract": "extract",
    "finetune": "finetune",
    "lr-find": "lr_find",
    "ensemble": "ensemble",
    "predict": "predict",
    "evaluate": "evaluate",
    "compare": "compare",
    "similar": "similar",
    "map": "map",
    "explain": "explain",
    "export": "export",
    "leaks": "leaks",
    "data": "data",
    "preview": "preview",
    "report": "report",
    "bundle": "bundle",
    "recipes": "recipes",
    "backbones": "backbones",
    "weights": "weights",
    "cache": "cache",
    "sample-data": "sample_data",
}
_GROUP_FLAGS = ("--quiet", "--json", "--offline")
_INTERRUPTED = 130
_STOPPED = f"{__name__}.stopped"
_BROKEN_PIPE = 141


class Group(click.Group):
    """A group that imports a command when it is called and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of their use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command."""
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"transfer_cli.cli.{_COMMANDS[name]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; name the nearest where there is none."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = "--help" if name == "help" else nearest(name, _COMMANDS)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near}?" if near else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; end with the exit code of what went wrong."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            code = _exit_code(error, ctx)
            if code is None:
                raise
            ctx.exit(code)


def _exit_code(error: BaseException, ctx: click.Context) -> int | None:
    """Say what went wrong and return the exit code, or None for what click or Python should deal with."""
    console: Console = ctx.ensure_object(Console)
    stopped = ctx.meta.get(_STOPPED)
    # Libraries catch everything here and there: a signal may arrive as any other error.
    if stopped or isinstance(error, KeyboardInterrupt | click.Abort):
        console.error(*_what_is_left(ctx))
        return stopped or _INTERRUPTED
    if isinstance(error, TransferError):
        console.error(str(error), error.hint)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # Whoever read our rows has enough; what is still in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    if isinstance(error, OSError) and error.errno:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        console.error(f"{error.filename or 'standard output'}: {os.strerror(error.errno)}.", None)
        return InputError.exit_code
    if isinstance(error, click.NoSuchOption) and error.option_name in _GROUP_FLAGS:
        flag = error.option_name
        raise click.UsageError(f"{flag} goes before the command: transfer-cli {flag} ...", error.ctx) from None
    return None


def _what_is_left(ctx: click.Context) -> tuple[str, str | None]:
    """Return what a person who stopped a command should know, and what to do next."""
    if ctx.invoked_subcommand == "auto":
        return "Stopped. Every step that was finished is kept.", "To go on, give the same command again."
    without = " without --overwrite, which would begin anew" if "--overwrite" in sys.argv else ""
    if ctx.invoked_subcommand == "extract" and any(word.startswith("--bags") for word in sys.argv):
        return "Stopped. Every bag that was finished is kept.", f"To go on, give the same command again{without}."
    if ctx.invoked_subcommand != "finetune":
        return "Stopped. Nothing half-written was left; give the same command again.", None
    return "Stopped. Every epoch that was finished is kept.", f"To go on, give the same command again{without}."


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", is_flag=True, help="Say nothing but results, warnings and errors.")
@click.option("--json", "json_", is_flag=True, help="Write results to stdout as JSON.")
@click.option(
    "--offline", is_flag=True, envvar="TRANSFER_CLI_OFFLINE", help="Never open a socket, not even for weights."
)
@click.version_option(package_name="transfer-cli")
@click.pass_context
def main(ctx: click.Context, quiet: bool, json_: bool, offline: bool) -> None:
    """Make a classifier from a folder of pictures, and use it.

    \b
    Example:
        transfer-cli sample-data patterns
        transfer-cli extract patterns --backbone embedded -o runs/first
        transfer-cli predict runs/first patterns --format table
    """
    console = ctx.ensure_object(Console)
    console.quiet, console.json, console.offline = quiet, json_, offline
    if offline:
        # urllib3, which Keras imports, opens and binds a socket to learn whether there is IPv6.
        socket.has_ipv6 = False
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: _stop(ctx, number))


def _stop(ctx: click.Context, number: int) -> None:
    # As an exception, so that every draft is removed on the way out.
    ctx.meta[_STOPPED] = 128 + number
    raise KeyboardInterrupt
