"""Options that several commands share, and what they complete to in a shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def training_options(command: Command) -> Command:
    """Add what every command that trains takes."""
    options = [
        click.option("-o", "--output", type=click.Path(), metavar="RUN", help="The run to write.  [runs/NAME]"),
        click.option("--recipe", metavar="NAME|FILE", help="Start from a shipped recipe or a TOML file."),
        click.option("--set", "overrides", multiple=True, metavar="WORD=VALUE", help="Override a word of the recipe."),
        click.option("--seed", type=int, help="Seed of weights, folds and classifier.  [0]"),
        click.option("--split", type=click.Path(), metavar="FILE", help="Follow the parts in a split.csv."),
        click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read."),
        click.option("--overwrite", is_flag=True, help="Replace an earlier run; its test pictures stay the same."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def backbone_options(command: Command) -> Command:
    """Add the choice of the network, its weights and its cut."""
    options = [
        click.option(
            "--backbone",
            metavar="NAME",
            shell_complete=_backbones,
            help="See: transfer-cli backbones list.  [mobilenet_v2]",
        ),
        click.option("--weights", metavar="imagenet|none|FILE", help="Pretrained, random, or a file.  [imagenet]"),
        click.option("--pooling", type=click.Choice(["avg", "max", "flatten"]), help="Map to row.  [avg]"),
        click.option("--layer", metavar="NAME", help="Cut after this layer.  [the last below the top]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _backbones(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from transfer_cli.catalog import backbones

    return [CompletionItem(name) for name in backbones.names() if name.startswith(incomplete)]
