"""``transfer-cli finetune``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import (
    Duration,
    backbone_options,
    backbone_words,
    bags_option,
    training_options,
    training_request,
)
from transfer_cli.cli._plan_output import say_plan
from transfer_cli.cli._summaries import end_of_bagging, end_of_training
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED


@click.command("finetune")
@click.argument("folder", type=click.Path(path_type=Path))
@backbone_options
@bags_option
@training_options
@click.option("--unlabelled", type=click.Path(), metavar="DIR", help="Learn from pictures without a class, too.")
@click.option("--plan", "plans", is_flag=True, help="Say what would be done and what it would take; write nothing.")
@click.option(
    "--time-budget", type=Duration(), metavar="TIME", help="Plan the epochs so that all ends within 90s, 10m or 1h30m."
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]),
    help="Of the numbers while it learns; mixed is for graphics cards.  [float32]",
)
@click.option("--tensorboard", is_flag=True, help="Write the epochs for TensorBoard, too: tensorboard --logdir RUN")
@click.pass_context
def command(
    ctx: click.Context, /, folder: Path, output: str | None, bags: int | None, plans: bool, **options: Any
) -> None:
    """Train a new head on a backbone, then the layers below it.

    FOLDER holds one sub-folder a class, or train and test (and val) with one sub-folder a class each; or it is a
    CSV file with the columns path,label or path,labels (a;b), and part where you know. What is trained,
    how long and on which augmented pictures is in the recipe: see transfer-cli recipes list. A stopped run goes on
    with the same command.

    \b
    Example:
        transfer-cli finetune photos
        transfer-cli finetune photos --plan
        transfer-cli finetune photos --time-budget 10m
        transfer-cli finetune photos --recipe last-block --set stage.1.epochs=3
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.runs.run_directory import RunDirectory, default_path
    from transfer_cli.system import seconds_running

    console = ctx.ensure_object(Console)
    words = {**backbone_words(options), "hardware.precision": options["precision"]}
    words["split.group_by"] = options["group_by"]
    words["unlabelled.folder"] = options["unlabelled"] and str(Path(options["unlabelled"]).absolute())
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], words)
    images = ImageFolder.scan(folder)
    run = RunDirectory(Path(output) if output else default_path(images.name, recipe.backbone.name, "finetune"))
    begun = time.monotonic() - seconds_running()
    request = training_request(console, options) | {word: options[word] for word in ("time_budget", "tensorboard")}
    request["begun"] = begun
    if plans:
        from transfer_cli.training.planning.plan import plan

        if bags and request["time_budget"]:
            raise click.UsageError("--plan with --bags says what one bag takes. Leave out --time-budget.", ctx)
        found = plan(images, recipe, run.bag(1) if bags else run, **request)
        say_plan(console, found, bags or 1)
        ctx.exit(DONE_WITH_SKIPPED if found.skipped else DONE)

    if bags:
        from transfer_cli.ensembling.bagging import bagged

        ctx.exit(end_of_bagging(console, bagged(images, recipe, run, bags, **request)))

    from transfer_cli.training.finetune import finetune

    ctx.exit(end_of_training(console, finetune(images, recipe, run, **request)))
