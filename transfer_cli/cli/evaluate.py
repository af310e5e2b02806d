"""``transfer-cli evaluate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import tta
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    cache_option,
    loading,
    output_option,
    runtime_option,
    scan_images,
    strict_option,
    table_options,
    tta_option,
)
from transfer_cli.cli._summaries import code_with_folder, end_of_evaluation
from transfer_cli.cli._types import PATH, Share


@click.command("evaluate", short_help="Measure a trained model on new labelled images.")
@click.argument("model", metavar="RUN|BUNDLE")
@click.argument("folder", metavar="FOLDER|CSV", type=PATH)
@table_options
@output_option("DIR", "Folder to write.  [RUN/evaluations/FOLDER]")
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test"]),
    help="Evaluate only this split, if FOLDER has train/val/test sub-folders.  [all]",
)
@click.option(
    "--min-accuracy",
    type=Share(),
    metavar="SHARE",
    help="Exit with code 6 if accuracy on images not used for training or selection is below SHARE, 0 to 1.",
)
@tta_option
@runtime_option
@cache_option
@strict_option
@pass_console
def command(
    console: Console, /, model: str, folder: Path, output: Path | None, part: str | None, **options: Any
) -> int:
    """Measure a trained model on labelled images it has not seen.

    RUN is the folder that a training command wrote, BUNDLE the model folder in it. FOLDER has one sub-folder of images
    per class (all classes of the model or some of them), or train/val/test folders with such sub-folders; CSV is a file
    with the columns path,label. Writes predictions.csv, metrics.json, confusion.csv and skipped.csv. Images that were
    used to train the model or to select it are recognised by their content; the accuracy without them is printed too.
    With --tta, the gain and the extra time are printed too.

    \b
    Example:
        transfer-cli evaluate runs/first new_photos
        transfer-cli evaluate runs/first new_photos --min-accuracy 0.8 -o checked
        transfer-cli evaluate runs/first new_photos --tta flip
    """
    from transfer_cli.runs import accuracy_gate
    from transfer_cli.runs.evaluation_directory import EvaluationDirectory
    from transfer_cli.runs.run_of_model import is_model, run_of_model

    method = None if options["tta"] is None else tta.find(options["tta"]).name
    if is_model(folder) and Path(model).exists() and not is_model(Path(model)):
        ordered = f"transfer-cli evaluate {shlex.quote(str(folder))} {shlex.quote(model)}"
        raise click.UsageError(f"{folder} is a model, {model} is not. The model comes first. Try: {ordered}")
    images = scan_images(folder, options, for_training=False)
    run = run_of_model(model)
    if output is None and run is None and Path(model).exists():
        raise click.UsageError(f"{model} is not inside a run, so there is no default output folder. Add -o DIR.")
    name = "-".join(word for word in (images.name, part, method) if word)
    place = EvaluationDirectory(output or (run.evaluations if run else Path(model)) / name)
    if (minimum := options["min_accuracy"]) is not None:
        accuracy_gate.check_task(images.task)

    from transfer_cli.evaluation.evaluate import evaluate

    evaluation = evaluate(
        model, images, place, part=part, tta=method, strict=options["strict"], **loading(console, options)
    )
    code = code_with_folder(console, end_of_evaluation(console, evaluation), images.left_out)
    if minimum is not None:
        left = f"The evaluation is in {place.path}."
        accuracy_gate.check_training_images_known(minimum, evaluation.training_images_known, left)
        accuracy_gate.check(
            minimum,
            evaluation.metrics,
            (evaluation.fair_part,),
            consequence=left,
            hint="Train on more images, or try finetune or another backbone.",
            no_images_hint=f"Evaluate other images: transfer-cli evaluate {shlex.quote(model)} OTHER_IMAGES",
        )
    return code
