"""Help texts, messages and docstrings use the words of the field: `image`, `trained`, `per image`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import REPOSITORY
from transfer_cli.cli.main import main

BANNED = {
    r"pictures?": "image",
    r"learnt": "trained",
    r"is had|be had": "is available",
    r"says? of|said of": "predicts",
    r"so many": "a number",
    r"kin": "group",
    r"to be believed": "faithful",
    r"ran away|runs away": "diverged",
    r"mend(?:s|ed)?": "correct",
    r"taken for another": "confused with",
    r"handed over": "exported",
    r"by chance": "at random",
    r"worth a look": "check",
    r"put aside": "held out",
    r"likeliest": "most likely",
    r"a person|whoever": "you, the user",
}
PATTERN = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in BANNED), re.IGNORECASE)
MODULES = sorted((REPOSITORY / "transfer_cli").rglob("*.py"))
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "recipes/*.toml", "transfer_cli/**/templates/**/*.*")
    for path in REPOSITORY.glob(pattern)
)
HEADINGS = {"transfer_cli/data/table_columns.py": ["picture"], "docs/tutorial.md": ["picture"]}
"""Headings of users' own tables, which are read."""
SUMMARY_WIDTH = 58


def find_banned(text: str) -> list[str]:
    """Return the banned words and constructions of a text."""
    return [match.group() for match in PATTERN.finditer(" ".join(text.split()))]


def commands_of(command: click.Command, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """Yield a command and all below it, each with its context."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands_of(below, click.Context(below, info_name=name, parent=context))


COMMANDS = {
    context.command_path: (context, command)
    for context, command in commands_of(main, click.Context(main, info_name="transfer-cli"))
}


def strings_of(module: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string of a module: docstrings, messages and parts of f-strings."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_command_has_no_banned_words(path: str) -> None:
    context, command = COMMANDS[path]
    assert find_banned(command.get_help(context)) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_strings_of_module_have_no_banned_words(module: Path) -> None:
    found = [word for _, text in strings_of(module) for word in find_banned(text)]
    assert found == HEADINGS.get(str(module.relative_to(REPOSITORY)), [])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_document_has_no_banned_words(document: Path) -> None:
    found = [word for line in document.read_text().splitlines() for word in find_banned(line)]
    assert found == HEADINGS.get(str(document.relative_to(REPOSITORY)), [])


def test_find_banned_planted_sentences_are_found() -> None:
    assert find_banned("Say what is on\n pictures") == ["pictures"]
    assert find_banned("what a model says\n    of it was learnt by chance") == ["says of", "learnt", "by chance"]
    assert find_banned("Kin is to be believed") == ["Kin", "to be believed"]
    assert find_banned("kind, skin, amend, recommended: images that a personal model was trained on") == []


@pytest.mark.parametrize("path", [path for path, (_, command) in COMMANDS.items() if isinstance(command, click.Group)])
def test_summaries_of_group_fit_one_line(path: str) -> None:
    context, group = COMMANDS[path]
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        summary = command.get_short_help_str(200)
        limit = SUMMARY_WIDTH if group is main else 80 - 6 - max(map(len, group.list_commands(context)))
        assert summary, name
        assert len(summary) <= limit, f"{name}: {len(summary)} characters"
        assert not summary.endswith("...")


def test_main_help_lists_each_command_on_one_line() -> None:
    context = click.Context(main, info_name="transfer-cli", terminal_width=80)
    lines = main.get_help(context).splitlines()
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.endswith(command.get_short_help_str(200))
        assert len(line) <= 80
