"""``transfer-cli extract``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import classifiers
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_words,
    bags_option,
    cache_option,
    training_options,
    training_request,
)
from transfer_cli.cli._summaries import end_of_bagging, end_of_training


@click.command("extract")
@click.argument("folder", type=click.Path(path_type=Path))
@backbone_options
@click.option("--classifier", type=click.Choice(classifiers.names()), help="What learns.  [logistic]")
@click.option("--tune/--no-tune", default=None, help="Choose its regularisation by cross-validation.  [if quick]")
@bags_option
@training_options
@cache_option
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: str | None, bags: int | None, **options: Any) -> None:
    """Make a classifier from the features of a frozen backbone.

    FOLDER holds one sub-folder a class, or train and test (and val) with one sub-folder a class each; or it is a
    CSV file with the columns path,label or path,labels (a;b), and part where you know. The run
    holds the features, the split, the scores, the predictions and the model.

    \b
    Example:
        transfer-cli extract sample_data/patterns --backbone embedded -o runs/first
        transfer-cli extract photos --backbone resnet50 --classifier linear-svm
        transfer-cli extract photos --bags 10
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.run_directory import RunDirectory, default_path

    console = ctx.ensure_object(Console)
    words = {
        **backbone_words(options),
        "classifier.name": options["classifier"],
        "classifier.tune": options["tune"],
        "split.group_by": options["group_by"],
    }
    recipe = ExtractRecipe.load(options["recipe"], options["overrides"], words)
    if bags and recipe.classifier.name == classifiers.NONE:
        raise click.UsageError("--bags is for a classifier. Received: --classifier none, which makes none.", ctx)
    images = ImageFolder.scan(folder)
    run = RunDirectory(Path(output) if output else default_path(images.name, recipe.backbone.name))
    request = training_request(console, options)
    if bags:
        from transfer_cli.ensembling.bagging import bagged

        ctx.exit(end_of_bagging(console, bagged(images, recipe, run, bags, **request)))

    from transfer_cli.training.extract import extract

    ctx.exit(end_of_training(console, extract(images, recipe, run, **request)))
