"""The command line: one file a command, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.errors import TransferError

_COMMANDS = {
    "extract": "extract",
    "predict": "predict",
    "backbones": "backbones",
    "sample-data": "sample_data",
}
_GROUP_FLAGS = ("--quiet", "--json", "--offline")
_INTERRUPTED = 130
_TERMINATED = 143
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; end with the exit code of what went wrong."""
        console: Console = ctx.ensure_object(Console)
        try:
            return super().invoke(ctx)
        except TransferError as error:
            console.error(str(error), error.hint)
            ctx.exit(error.exit_code)
        except click.NoSuchOption as error:
            if error.option_name in _GROUP_FLAGS:
                flag = error.option_name
                raise click.UsageError(f"{flag} goes before the command: transfer-cli {flag} ...", error.ctx) from None
            raise
        except BrokenPipeError:
            # Whoever read our rows has enough; what is still in the buffer must not raise again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(_BROKEN_PIPE)
        except (KeyboardInterrupt, click.Abort):
            console.error("Stopped. Nothing half-written was left; the same command starts again.", None)
            ctx.exit(_INTERRUPTED)


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
        transfer-cli extract patterns --weights none -o runs/first
        transfer-cli predict runs/first patterns --format table
    """
    console = ctx.ensure_object(Console)
    console.quiet, console.json, console.offline = quiet, json_, offline
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # As an exception, so that every draft is removed on the way out.
    raise SystemExit(_TERMINATED)
