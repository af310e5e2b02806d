"""Write docs/cli.md from the help of every command: ``python docs/cli.py``; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from transfer_cli.cli.main import main

TARGET = Path(__file__).parent / "cli.md"
HEAD = "# Commands\n\nThis page is generated from the help of the commands by `python docs/cli.py`.\n"


def sections(command: click.Command, context: click.Context) -> list[str]:
    """Return the help of a command and of all its sub-commands, as Markdown."""
    texts = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            texts += sections(below, click.Context(below, info_name=name, parent=context, terminal_width=100))
    return texts


def page() -> str:
    """Return the whole page."""
    context = click.Context(main, info_name="transfer-cli", terminal_width=100, **main.context_settings)
    return "\n".join([HEAD, *sections(main, context)])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == page() else f"{TARGET} is not up to date: python docs/cli.py")
    TARGET.write_text(page())
