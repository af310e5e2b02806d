"""``transfer-cli extract``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import classifiers
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    backbone_options,
    bags_options,
    cache_option,
    command_words,
    keywords,
    repeats_option,
    set_resume_hint,
    table_options,
    training_options,
)
from transfer_cli.cli._summaries import code_with_folder, end_of_ensemble, end_of_repeats, end_of_training
from transfer_cli.cli._types import PATH


@click.command("extract", short_help="Train a classifier fast, on a fixed pretrained network.")
@click.argument("folder", type=PATH)
@table_options
@backbone_options
@click.option(
    "--classifier",
    type=click.Choice(classifiers.names()),
    help="Classifier to train on the features.  [lda; logistic for several labels per image]",
)
@click.option(
    "--tune/--no-tune",
    default=None,
    help="Tune the classifier's regularisation strength by cross-validation.  [on for the fast classifiers]",
)
@bags_options
@repeats_option
@training_options
@cache_option
@pass_console
def command(console: Console, /, folder: Path, bags: int | None, repeats: int | None, **options: Any) -> int:
    """Train a classifier fast (start here): a fixed pretrained network plus a linear classifier.

    FOLDER has one sub-folder of images per class, e.g. photos/cat and photos/dog; or sub-folders train and test (and
    val), each with one sub-folder per class; or it is a CSV file with the columns path,label (or path,labels with any
    number of labels as a;b) and optionally split (train, val or test) and group. If the classes are deeper folders, as
    in photos/STATION/CLASS, choose them by --class-level. The run holds the model, its metrics and predictions on the
    test images, the split and the features. With --classifier none it holds the features alone, and FOLDER may be any
    folder of images, also without classes: map and similar show which images are alike.

    \b
    Example:
        transfer-cli extract sample_data/patterns --backbone embedded -o runs/first
        transfer-cli extract photos --backbone resnet50 --classifier linear-svm
        transfer-cli extract photos --backbone own.keras --preprocess tf
        transfer-cli extract photos --bags 10 --method vote
        transfer-cli extract photos --repeats 5
        transfer-cli extract unsorted_photos --classifier none
    """
    from transfer_cli.training_options import extract_job

    several = {"bags": bags, "repeats": repeats}
    job = extract_job(folder, {**keywords(console, options), **several}, command_words(), console)
    if bags and not job.trains_model:
        raise click.UsageError("--bags needs a classifier. Received: --classifier none (features only).")
    if repeats:
        set_resume_hint("Finished repeats are", options["overwrite"])
        return code_with_folder(console, end_of_repeats(console, job.run_repeats()), job.request.folder.left_out)
    if bags:
        set_resume_hint("Finished bags are", options["overwrite"])
    code = end_of_ensemble(console, job.run(), of_bags=True) if bags else end_of_training(console, job.run())
    return code_with_folder(console, code, job.request.folder.left_out)
