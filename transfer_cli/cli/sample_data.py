"""``transfer-cli sample-data``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._types import PATH
from transfer_cli.text import shell_command


@click.command("sample-data", short_help="Copy a small set of sample images to a folder.")
@click.argument("target", type=PATH)
@pass_console
def command(console: Console, target: Path) -> None:
    """Copy the sample images that come with transfer-cli to the folder TARGET, to try things out.

    \b
    Example:
        transfer-cli sample-data patterns
    """
    from transfer_cli.data.sample_data import copy_to

    folder = copy_to(target)
    console.note(f"next: transfer-cli extract {shell_command(folder)} --backbone embedded")
    console.result(str(folder), {"folder": str(folder)})
