"""``transfer-cli lr-find``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_overrides,
    check_suffix,
    output_option,
    recipe_options,
    runtime_option,
    scan_images,
    split_option,
    table_options,
    training_request,
)
from transfer_cli.cli._stage_options import batch_size_option, check_given_once
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted, shell_command

if TYPE_CHECKING:
    from transfer_cli.training.sweep import Sweep


@click.command("lr-find", short_help="Find a good learning rate for fine-tuning.")
@click.argument("folder", type=PATH)
@table_options
@backbone_options
@batch_size_option
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
@output_option("FILE.png", "PNG file to write.  [plots/FOLDER-lr.png]")
@pass_console
def command(console: Console, /, folder: Path, output: Path | None, **options: Any) -> None:
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
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.rendering.png_provenance import LR_FIND, made_by
    from transfer_cli.runs.run_directory import RunDirectory
    from transfer_cli.training_options import stage_overrides

    overrides = {**backbone_overrides(options), **stage_overrides(options)}
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], overrides)
    check_given_once(recipe, options)
    images = scan_images(folder, options, group_by=recipe.split.group_by)
    target = output or Path("plots") / f"{images.name}-lr.png"
    check_suffix(target, ".png")
    check_writable(target, is_ours=made_by(target) == LR_FIND)

    from transfer_cli.training.lr_find import lr_find

    request = training_request(console, images, RunDirectory(target), options)
    settings = {name: options[name] for name in ("stage", "lowest", "highest", "steps")}
    sweep = lr_find(request, recipe, target, **settings)
    rate, number = f"{sweep.suggestion:.2g}", options["stage"]
    unfreeze = recipe.stage[number - 1].unfreeze
    option = "--lr " if number == len(recipe.stage) else f"--set stage.{number}.learning_rate="
    stage = f"stage {number} of {len(recipe.stage)} (unfreeze {unfreeze})"
    console.note(
        f"{stage}: {counted(len(sweep.rates), 'step')}, ended because: {sweep.ended}",
        f"loss: {sweep.start:.3f} at low learning rates, {sweep.lowest:.3f} at its minimum",
        f"steepest descent of the loss at learning rate {sweep.steepest:.2g}",
        f"suggested learning rate: {rate} (somewhat below the minimum of the loss); "
        "check it by its validation accuracy",
        *filter(None, [sweep.seeds_summary()]),
        f"plot: {target}",
        f"next: {_next_command(folder, options)} {option}{rate}",
    )
    console.result(rate, {"stage": number, "unfreeze": unfreeze, **_to_json(sweep, target)})


def _next_command(folder: Path, options: Mapping[str, Any]) -> str:
    """Return the finetune command with the same recipe and network."""
    command = ["transfer-cli", "finetune", str(folder)]
    tables = ("class_map", "omit")
    network = ("backbone", "preprocess", "weights", "pooling", "layer", "batch_size")
    for name in ("recipe", *network, "class_level", "path_column", "label_column", "images", *tables):
        command += [f"--{name.replace('_', '-')}", str(options[name])] if options.get(name) else []
    for override in options["overrides"]:
        command += ["--set", override]
    return shell_command(*command)


def _to_json(sweep: Sweep, target: Path) -> dict[str, Any]:
    ends = {name: getattr(sweep, name) for name in ("suggestion", "with_other_seed", "steepest", "ended")}
    steps = {name: getattr(sweep, name) for name in ("rates", "losses", "smoothed")}
    return {**ends, "loss_at_start": sweep.start, "lowest_loss": sweep.lowest, **steps, "output": str(target)}
