"""--quiet, --json, --offline and --max-image-memory work before and after the name of every command."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.test_language import COMMANDS
from transfer_cli.cli import cache
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._general_options import IMAGE_MEMORY, add_general_options, general_options
from transfer_cli.cli.main import main

FLAGS = {"--quiet", "--json", "--offline", "--max-image-memory"}


@click.group()
@general_options
def program() -> None:
    pass


@program.group()
def group() -> None:
    pass


@group.command()
@click.option("--json", "file", metavar="FILE")
@pass_console
def own(console: Console, file: str | None) -> None:
    click.echo(f"{console.json} {file}")


@group.command()
@click.argument("words", nargs=-1)
@pass_console
def plain(console: Console, words: tuple[str, ...]) -> None:
    click.echo(f"{console.quiet} {console.json} {console.offline} {os.environ.get(IMAGE_MEMORY)} {[*words]}")


add_general_options(group)


@pytest.fixture(autouse=True)
def _settings_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_ipv6", True)
    monkeypatch.setenv(IMAGE_MEMORY, "700MB")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("group plain", "False False False 700MB []"),
        ("group plain --quiet", "True False False 700MB []"),
        ("--quiet group --json plain a --offline b", "True True True 700MB ['a', 'b']"),
        ("group plain --max-image-memory 2GB", "False False False 2GB []"),
        ("--max-image-memory 1GB group plain --max-image-memory=2GB --json", "False True False 2GB []"),
        ("group plain -- --json", "False False False 700MB ['--json']"),
        ("group own --json x", "False x"),
        ("--json group own --json x", "True x"),
    ],
)
def test_general_options_before_and_after(words: str, printed: str) -> None:
    result = CliRunner().invoke(program, words.split())
    assert (result.exit_code, result.stdout.strip()) == (0, printed)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "transfer-cli"])
def test_every_command_takes_them_and_says_so_once(path: str) -> None:
    context, command = COMMANDS[path]
    taken = {name for parameter in command.params for name in parameter.opts}
    text = " ".join(command.get_help(context).split())
    assert taken >= FLAGS
    assert text.count("Every command also takes --quiet, --json, --offline and --max-image-memory") == 1


def test_adding_them_twice_changes_nothing() -> None:
    before = [len(command.params) for command in cache.command.commands.values()]
    add_general_options(cache.command)
    assert [len(command.params) for command in cache.command.commands.values()] == before


def test_sub_command_prints_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(tmp_path))
    before, after = (CliRunner().invoke(main, words.split()) for words in ("--json cache info", "cache info --json"))
    assert json.loads(after.stdout)["path"] == str(tmp_path)
    assert (after.stdout, after.stderr) == (before.stdout, before.stderr)


def test_wrong_size_is_told_wherever_it_is_typed() -> None:
    for words in (["--max-image-memory", "much", "cache", "info"], ["cache", "info", "--max-image-memory", "much"]):
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith("error: 'much' is not a size.")
