"""``transfer-cli help``."""

from __future__ import annotations

import click

from transfer_cli.cli._completion import complete_commands


@click.command("help", short_help="Show the help of a command.")
@click.argument("words", nargs=-1, metavar="[COMMAND]...", shell_complete=complete_commands)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command, or of all.

    \b
    Example:
        transfer-cli help predict
        transfer-cli help bundle show
    """
    context, rest = ctx.find_root(), list(words)
    while rest and isinstance(context.command, click.Group):
        name, below, rest = context.command.resolve_command(context, rest)
        if below is not None:
            context = click.Context(below, info_name=name, parent=context)
    click.echo(context.get_help())
