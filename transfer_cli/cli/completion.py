"""``transfer-cli completion``."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._shells import SHELLS, script

_LINES = {
    "bash": """echo 'eval "$(transfer-cli completion bash)"' >> ~/.bashrc""",
    "zsh": """echo 'eval "$(transfer-cli completion zsh)"' >> ~/.zshrc""",
    "fish": "echo 'transfer-cli completion fish | source' >> ~/.config/fish/config.fish",
}


@click.command("completion", short_help="Print a script: the Tab key completes commands.")
@click.argument("shell", required=False, type=click.Choice([*SHELLS]), metavar="[bash|zsh|fish]")
@click.pass_context
@pass_console
def command(console: Console, ctx: click.Context, /, shell: str | None) -> None:
    """Print the script with which the Tab key completes commands, options, runs, settings and names.

    Add it to the start-up file of your shell once, then open a new terminal. For zsh, the line has to be below
    `autoload -Uz compinit && compinit`.

    \b
    Example:
        echo 'eval "$(transfer-cli completion bash)"' >> ~/.bashrc
        echo 'eval "$(transfer-cli completion zsh)"' >> ~/.zshrc
        echo 'transfer-cli completion fish | source' >> ~/.config/fish/config.fish
    """
    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise click.UsageError(
            f"Expected a shell: {', '.join(SHELLS)}. Received: {shell or 'none, and SHELL is not set'}."
        )
    click.echo(script(shell, ctx.find_root().command), nl=False)
    if sys.stdout.isatty():
        console.note(f"to switch completion on: {_LINES[shell]}")
