"""Shared options: a wrong value is a usage error in every command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main


def with_seed(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the name of each command with ``--seed``."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from with_seed(below, *names, name)
    elif any("--seed" in parameter.opts for parameter in command.params):
        yield names


COMMANDS = [*with_seed(main)]


def test_seed_commands_are_complete() -> None:
    found = {" ".join(arguments) for arguments in COMMANDS}
    assert found >= {
        "auto",
        "data check",
        "data split",
        "ensemble",
        "extract",
        "finetune",
        "learning-curve",
        "lr-find",
        "preview",
        "rank",
    }


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_seed_out_of_range_is_usage_error(arguments: tuple[str, ...]) -> None:
    for seed in ("-1", str(2**32), "99999999999", "one"):
        result = CliRunner().invoke(main, [*arguments, "--seed", seed])
        assert result.exit_code == 2
        assert "Invalid value for '--seed'" in result.output
    # The largest valid seed passes: only other arguments are missing.
    result = CliRunner().invoke(main, [*arguments, "--seed", str(2**32 - 1)])
    assert result.exit_code == 2
    assert "Missing" in result.output


def test_images_option_of_every_command_that_reads_the_images_of_a_run() -> None:
    for name in ("ensemble", "export", "leaks", "map", "report", "similar"):
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert "--images" in [word for option in command.params for word in option.opts], name
