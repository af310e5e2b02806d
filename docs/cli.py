"""Write docs/cli.md from the help of every command: ``python docs/cli.py``; with ``--check`` only compare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from transfer_cli.cli.main import main

TARGET = Path(__file__).parent / "cli.md"


def pages(command: click.Command, context: click.Context) -> list[str]:
    """Return the help of a command and of all below it, as Markdown."""
    found = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += pages(below, click.Context(below, info_name=name, parent=context, terminal_width=100))
    return found


def reference() -> str:
    """Return the whole page."""
    context = click.Context(main, info_name="transfer-cli", terminal_width=100, **main.context_settings)
    head = "# Commands\n\nThis page is made by `python docs/cli.py` from the help of the commands.\n"
    return "\n".join([head, *pages(main, context)])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == reference() else f"{TARGET} is not up to date: python docs/cli.py")
    TARGET.write_text(reference())
