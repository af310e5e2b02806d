"""``transfer-cli lr-find``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_overrides,
    check_suffix,
    recipe_options,
    runtime_option,
    split_option,
    training_request,
)

if TYPE_CHECKING:
    from transfer_cli.training.sweep import Sweep


@click.command("lr-find", short_help="Find a good learning rate for fine-tuning.")
@click.argument("folder", type=click.Path(path_type=Path))
@backbone_options
@recipe_options
@runtime_option
@split_option
@click.option(
    "--stage", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Stage of the recipe to test."
)
@click.option(
    "--lowest", type=float, default=1e-7, show_default=True, metavar="RATE", help="Lowest learning rate to try."
)
@click.option(
    "--highest",
    type=float,
    default=10.0,
    show_default=True,
    metavar="RATE",
    help="Highest learning rate to try (stops earlier if the loss diverges).",
)
@click.option(
    "--steps",
    type=click.IntRange(10, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of training steps from lowest to highest.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="PNG file to write.  [plots/FOLDER-lr.png]",
)
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Find a good learning rate for fine-tuning (learning-rate range test).

    One stage of the recipe is trained for about 100 steps on the training images while the learning rate rises
    exponentially (Smith 2017), starting from the pretrained network and a random head. The suggestion is a tenth of the
    rate with the lowest smoothed loss (half of it if the stage's schedule ends at zero). Only a plot is written; test
    images are not used.

    \b
    Example:
        transfer-cli lr-find photos
        transfer-cli lr-find photos --recipe gentle-two-stage --stage 2
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.runs.run_directory import RunDirectory
    from transfer_cli.training.sweep_plot import is_sweep_plot

    console = ctx.ensure_object(Console)
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], backbone_overrides(options))
    images = ImageFolder.scan(folder)
    target = output or Path("plots") / f"{images.name}-lr.png"
    check_suffix(target, ".png")
    # An earlier plot may be replaced, any other file may not.
    if not is_sweep_plot(target):
        check_writable(target)

    from transfer_cli.training.lr_find import lr_find

    number = options["stage"]
    sweep = lr_find(
        training_request(console, images, RunDirectory(target), options),
        recipe,
        target,
        stage=number,
        lowest=options["lowest"],
        highest=options["highest"],
        steps=options["steps"],
    )
    rate = f"{sweep.suggestion:.2g}"
    stage = f"stage {number} of {len(recipe.stage)} (unfreeze {recipe.stage[number - 1].unfreeze})"
    _print_notes(console, sweep, stage)
    console.note(f"plot: {target}")
    console.note(f"next: {_next_command(folder, options)} --set stage.{number}.learning_rate={rate}")
    console.result(rate, {"stage": number, "unfreeze": recipe.stage[number - 1].unfreeze, **_to_json(sweep, target)})


def _print_notes(console: Console, sweep: Sweep, stage: str) -> None:
    console.note(f"{stage}: {len(sweep.rates)} steps, ended because: {sweep.ended}")
    console.note(f"loss: {sweep.start:.3f} at low learning rates, {sweep.lowest:.3f} at its minimum")
    console.note(f"steepest descent of the loss at learning rate {sweep.steepest:.2g}")
    console.note(
        f"suggested learning rate: {sweep.suggestion:.2g} (somewhat below the minimum of the loss); "
        "check it by its validation accuracy"
    )


def _next_command(folder: Path, options: Mapping[str, Any]) -> str:
    """Return the finetune command with the same recipe and network."""
    command = ["transfer-cli", "finetune", str(folder)]
    for name in ("recipe", "backbone"):
        command += [f"--{name}", options[name]] if options[name] else []
    for override in options["overrides"]:
        command += ["--set", override]
    return shlex.join(command)


def _to_json(sweep: Sweep, target: Path) -> dict[str, Any]:
    return {
        "suggestion": sweep.suggestion,
        "steepest": sweep.steepest,
        "ended": sweep.ended,
        "loss_at_start": sweep.start,
        "lowest_loss": sweep.lowest,
        "rates": sweep.rates,
        "losses": sweep.losses,
        "smoothed": sweep.smoothed,
        "output": str(target),
    }
