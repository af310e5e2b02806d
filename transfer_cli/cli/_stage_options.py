"""``--epochs``, ``--lr`` and ``--batch-size`` of finetune: settings of the recipe that are changed most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._types import epochs, learning_rate

if TYPE_CHECKING:
    from transfer_cli.recipe.recipes import FinetuneRecipe

Command = TypeVar("Command", bound=Callable[..., Any])
_LAST = "stage.last."
_SETTINGS = {
    "epochs": ("--epochs", f"{_LAST}epochs"),
    "lr": ("--lr", f"{_LAST}learning_rate"),
    "batch_size": ("--batch-size", "batch_size"),
}
"""Option and setting by the name of the parameter."""
batch_size_option = click.option(
    "--batch-size",
    "--batch",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Images per batch, in all stages.  [32, or that of the recipe]",
)


def stage_options(command: Command) -> Command:
    """Add ``--epochs``, ``--lr`` and ``--batch-size`` to a command."""
    for option in (
        batch_size_option,
        click.option(
            "--lr",
            "--learning-rate",
            type=learning_rate,
            metavar="RATE",
            help="Peak learning rate of the last stage of the recipe, e.g. 3e-4.  [that of the recipe]",
        ),
        click.option(
            "--epochs",
            type=epochs,
            metavar="N|auto",
            help="Epochs of the last stage of the recipe (early stopping may end it before).  [that of the recipe]",
        ),
    ):
        command = option(command)
    return command


def check_given_once(recipe: FinetuneRecipe, options: Mapping[str, Any]) -> None:
    """Raise a usage error if ``--set`` gives a setting another value than its option."""
    for name, (option, setting) in _SETTINGS.items():
        typed = options.get(name)
        received = recipe.batch_size if name == "batch_size" else getattr(recipe.stage[-1], setting.removeprefix(_LAST))
        if typed is not None and received != typed:
            key = setting.replace("last", str(len(recipe.stage)))
            raise click.UsageError(
                f"{option} {typed} and --set {key}={received} are the same setting. Give one of them."
            )


def note_last_stage(console: Console, recipe: FinetuneRecipe, options: Mapping[str, Any]) -> None:
    """Print which of several stages the options set, and how to set the others."""
    *others, last = recipe.stage
    count = len(recipe.stage)
    for name, (option, setting) in _SETTINGS.items():
        if options.get(name) is None or not setting.startswith(_LAST) or not others:
            continue
        key = setting.removeprefix(_LAST)
        kept = ", ".join(f"stage {number} keeps {getattr(stage, key)}" for number, stage in enumerate(others, start=1))
        console.note(
            f"{option} {options[name]} sets stage {count} of {count} (unfreeze {last.unfreeze}); {kept} "
            f"(to change it: --set stage.1.{key}=VALUE)"
        )
