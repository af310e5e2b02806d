"""Options that several commands share: what is typed wrongly is said, and never as a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main


def with_seed(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that takes a seed."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from with_seed(below, *names, name)
    elif any("--seed" in parameter.opts for parameter in command.params):
        yield names


COMMANDS = [*with_seed(main)]


def test_all_of_them_are_found() -> None:
    found = {" ".join(words) for words in COMMANDS}
    assert found >= {
        "auto",
        "data check",
        "data split",
        "ensemble",
        "extract",
        "finetune",
        "lr-find",
        "preview",
        "rank",
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_seed_out_of_range_is_a_fault_of_usage(words: tuple[str, ...]) -> None:
    for seed in ("-1", str(2**32), "99999999999", "one"):
        done = CliRunner().invoke(main, [*words, "--seed", seed])
        assert done.exit_code == 2
        assert "Invalid value for '--seed'" in done.output
    # The twin: the last one that there is lacks nothing but what else the command wants.
    done = CliRunner().invoke(main, [*words, "--seed", str(2**32 - 1)])
    assert done.exit_code == 2
    assert "Missing" in done.output
