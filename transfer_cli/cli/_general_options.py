"""The options of all commands, which may be typed before and after the name of a command."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import click

from transfer_cli.cli._console import Console
from transfer_cli.io.cache import parse_size

Command = TypeVar("Command", bound=Callable[..., Any])

IMAGE_MEMORY = "TRANSFER_CLI_MAX_IMAGE_MEMORY"
"""Environment variable that `data.decoding_cost` reads."""
_OFFLINE = "TRANSFER_CLI_OFFLINE"
_REMINDER = "Every command also takes --quiet, --json, --offline and --max-image-memory (see: transfer-cli --help)."


def general_options(command: Command) -> Command:
    """Add the options to the program itself."""
    for option in reversed(_options()):
        command = option(command)
    return command


def add_general_options(command: click.Command) -> click.Command:
    """Let a command, and all commands below it, take the options after its name; an option of its own wins."""
    own = {name for parameter in command.params for name in parameter.opts}
    # With the ones added earlier, nothing is left to add.
    missing = [option for option in _hidden_options() if not own.intersection(option.opts)]
    if missing:
        command.params += missing
        command.epilog = "\n\n".join(filter(None, (command.epilog, _REMINDER)))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_general_options(below)
    return command


def _options() -> tuple[Callable[[Command], Command], ...]:
    return (
        _option("--quiet", is_flag=True, help="Print only results, warnings and errors."),
        _option("--json", is_flag=True, help="Print the result to stdout and errors to stderr as JSON (docs/json.md)."),
        _option(
            "--offline",
            is_flag=True,
            envvar=_OFFLINE,
            help="Never connect to the internet, not even to download pretrained weights.",
        ),
        _option(
            "--max-image-memory",
            metavar="SIZE",
            envvar=IMAGE_MEMORY,
            help="Skip images that need more memory to decode, e.g. 2GB; files may declare any size.  [600MB]",
        ),
    )


def _option(name: str, **settings: Any) -> Callable[[Command], Command]:
    # Eager: an error of any other option is already printed as --json asks.
    return click.option(name, expose_value=False, is_eager="is_flag" in settings, callback=_apply, **settings)


def _hidden_options() -> list[click.Parameter]:
    @click.command()
    @general_options
    def taken() -> None:
        """Take the options."""

    for option in taken.params:
        assert isinstance(option, click.Option)
        option.hidden, option.envvar = True, None
    return taken.params


def _apply(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    console = ctx.ensure_object(Console)
    if not value or ctx.resilient_parsing:
        return
    if parameter.name == "max_image_memory":
        parse_size(value)
        os.environ[IMAGE_MEMORY] = value
        return
    setattr(console, str(parameter.name), True)
    if parameter.name == "offline":
        # urllib3, which Keras imports, opens and binds a socket to find out whether IPv6 works.
        socket.has_ipv6 = False
