"""``transfer-cli evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.catalog import tta
from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    cache_option,
    loading,
    output_option,
    runtime_option,
    scan_images,
    seed_option,
    strict_option,
    table_options,
    tta_option,
)
from transfer_cli.cli._summaries import code_with_folder, end_of_evaluation
from transfer_cli.cli._types import PATH, Share
from transfer_cli.text import shell_command

if TYPE_CHECKING:
    from transfer_cli.data.image_selection import ImageSelection


@click.command("evaluate", short_help="Measure a trained model on new labelled images.")
@click.argument("model", metavar="RUN|BUNDLE|imagenet:NAME", shell_complete=complete_models)
@click.argument("folder", metavar="FOLDER|CSV", type=PATH)
@table_options
@output_option("DIR", "Folder to write.  [RUN/evaluations/FOLDER, or evaluations/imagenet-NAME-FOLDER]")
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
@click.option(
    "--perturb",
    is_flag=True,
    help="Also measure the accuracy under shifts, turns, scale, blur, noise, darkness and JPEG compression at four "
    "strengths each (29 passes per image).",
)
@seed_option("Random seed of --perturb.  [0]", 0)
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
    With --tta, the gain and the extra time are printed too. With --perturb, perturbations.csv and .png have the
    accuracy under each perturbation and its difference to that on the images as they are. A class map that the
    model was trained with is applied to the folder as well.

    imagenet:NAME is a pretrained network with its own 1000 classes (NAME: see transfer-cli backbones list; its weights
    with the classification head: transfer-cli weights fetch NAME --top). The folders are named by WordNet numbers
    (n01440764) or by class names (tench), for some or all classes. Prints the top-1 and top-5 accuracy and error among
    all 1000 classes.

    \b
    Example:
        transfer-cli evaluate runs/first new_photos
        transfer-cli evaluate runs/first new_photos --min-accuracy 0.8 -o checked
        transfer-cli evaluate runs/first new_photos --tta flip
        transfer-cli evaluate runs/first new_photos --perturb
        transfer-cli evaluate imagenet:mobilenet_v2 birds
    """
    from transfer_cli.runs import accuracy_gate
    from transfer_cli.runs.evaluation_directory import EvaluationDirectory

    method = None if options["tta"] is None else tta.find(options["tta"]).name
    _check_order(model, folder)
    images = scan_images(folder, options, for_training=False, selection=_selection(model, options))
    perturb: bool = options["perturb"]
    name = "-".join(word for word in (images.name, part, method, "perturb" * perturb) if word)
    place = EvaluationDirectory(output or _default_place(model, name))
    if (minimum := options["min_accuracy"]) is not None:
        accuracy_gate.check_task(images.task)

    from transfer_cli.evaluation.evaluate import evaluate

    settings = {key: options[key] for key in ("perturb", "seed", "strict")}
    evaluation = evaluate(model, images, place, part=part, tta=method, **settings, **loading(console, options))
    code = code_with_folder(console, end_of_evaluation(console, evaluation), images.left_out)
    if minimum is not None:
        left = f"The evaluation is in {place.path}."
        if not evaluation.is_imagenet:
            accuracy_gate.check_training_images_known(minimum, evaluation.training_images_known, left)
        accuracy_gate.check(
            minimum,
            evaluation.metrics,
            (evaluation.fair_part,),
            consequence=left,
            hint="Train on more images, or try finetune or another backbone.",
            no_images_hint=f"Evaluate other images: transfer-cli evaluate {shell_command(model)} OTHER_IMAGES",
        )
    return code


def _check_order(model: str, folder: Path) -> None:
    """Raise a usage error if the model and the folder are in the wrong order."""
    from transfer_cli.inference.models import IMAGENET
    from transfer_cli.runs.run_of_model import is_model

    is_swapped = is_model(folder) and Path(model).exists() and not is_model(Path(model))
    if is_swapped or str(folder).startswith(IMAGENET):
        ordered = f"transfer-cli evaluate {shell_command(folder)} {shell_command(model)}"
        raise click.UsageError(f"{folder} is a model, {model} is not. The model comes first. Try: {ordered}")


def _default_place(model: str, name: str) -> Path:
    """Return the folder of an evaluation: in the run of the model, if it has one."""
    from transfer_cli.bundle.manifest import bundle_directory
    from transfer_cli.inference.models import IMAGENET
    from transfer_cli.runs.run_of_model import run_of_model

    if model.startswith(IMAGENET):
        return Path("evaluations") / f"{model.replace(':', '-')}-{name}"
    run = run_of_model(model)
    if run is None and Path(model).exists():
        bundle_directory(Path(model))  # an error if it is none
        raise click.UsageError(f"{model} is not inside a run, so there is no default output folder. Add -o DIR.")
    return (run.evaluations if run else Path(model)) / name


def _selection(model: str, options: Mapping[str, Any]) -> ImageSelection:
    """Return the selection of the options; without a class map, that of the training of the model is applied."""
    from transfer_cli.data.class_map import ClassMap
    from transfer_cli.data.image_selection import ImageSelection
    from transfer_cli.runs.selection_tables import class_map_of_model

    of_model = class_map_of_model(model)
    selection = ImageSelection.read(options["class_map"], options["omit"])
    if selection.class_map is None and of_model:
        selection = replace(selection, class_map=ClassMap.of(f"of {model}", of_model))
    return replace(selection, for_evaluation=True, known=tuple(of_model))
