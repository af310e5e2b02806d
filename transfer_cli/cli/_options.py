"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from transfer_cli.catalog import backbones, ensemble_methods, runtimes, tta
from transfer_cli.cli._completion import (
    complete_backbone_lists,
    complete_backbones,
    complete_layers,
    complete_recipes,
    complete_settings,
    complete_tta,
    complete_weights,
)
from transfer_cli.cli._console import Console
from transfer_cli.cli._error_output import RESUME_HINT
from transfer_cli.cli._types import PATH, Share, class_level, comma_separated, duration, seed
from transfer_cli.io.cache import LIMIT, Cache
from transfer_cli.metrics.spread import MAX_REPEATS, MIN_REPEATS

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.data.image_selection import ImageSelection
    from transfer_cli.runs.request import TrainingRequest
    from transfer_cli.runs.run_directory import RunDirectory

Command = TypeVar("Command", bound=Callable[..., Any])


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return the decorator that adds these options in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def output_option(metavar: str, text: str, required: bool = False) -> Callable[[Command], Command]:
    """Return the decorator that adds ``-o``."""
    return click.option("-o", "--output", type=PATH, metavar=metavar, required=required, help=text)


def seed_option(text: str = "Random seed.  [0]", default: int | None = None) -> Callable[[Command], Command]:
    """Return the decorator that adds ``--seed``."""
    return click.option("--seed", type=seed, default=default, metavar="N", help=text)


def time_budget_option(text: str, default: str | None = None) -> Callable[[Command], Command]:
    """Return the decorator that adds ``--time-budget``."""
    return click.option("--time-budget", type=duration, default=default, metavar="TIME", help=text)


def group_option(near_duplicates: bool = True) -> Callable[[Command], Command]:
    """Return the decorator that adds ``--group-by``."""
    return click.option(
        "--group-by",
        metavar="REGEX|column:NAME" + ("|near-duplicates" if near_duplicates else ""),
        help="Never split a group between train and test: images whose path has the same REGEX match (e.g. 'ST\\d+' "
        f"for stations){',' if near_duplicates else ' or'} images with the same value in a column of the CSV file "
        f"(e.g. column:group){', or near-duplicates' if near_duplicates else ''}.",
    )


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_settings,
    help="Override one recipe setting, e.g. --set batch_size=16 (repeatable; all settings: docs/recipes.md).",
)
split_option = click.option(
    "--split",
    type=PATH,
    metavar="RUN|FILE.csv",
    help="Use the train/val/test assignment of another run, or of a CSV file.  [a new split]",
)
table_options = _together(
    click.option(
        "--class-level",
        type=class_level,
        metavar="N|last",
        help="Depth of the class folders below FOLDER: 1 for its sub-folders, 2 for the folders in them; last: the "
        "folder that an image is directly in.  [1, or 2 in train/val/test folders]",
    ),
    click.option(
        "--path-column",
        metavar="NAME",
        help="Column of a CSV file that has the paths of the images.  [path, file, filename, image or photo]",
    ),
    click.option(
        "--label-column",
        metavar="NAME",
        help="Column of a CSV file that has the class of each image.  [label, class, species or category]",
    ),
    click.option(
        "--images",
        type=PATH,
        metavar="DIR",
        help="Folder that the paths in a CSV file are relative to.  [the folder of the CSV file]",
    ),
    click.option(
        "--class-map",
        type=PATH,
        metavar="FILE.csv",
        help="Rename, merge or leave out classes: a table with the columns from,to; an empty `to` leaves the class "
        "out.  [classes as they are]",
    ),
    click.option(
        "--omit",
        type=PATH,
        metavar="FILE.csv",
        help="Leave out the images in this table, e.g. suspects.csv of data check; one of each pair in duplicates.csv "
        "or leaks.csv.  [use all images]",
    ),
)
strict_option = click.option(
    "--strict", is_flag=True, help="Stop at the first unreadable image.  [skip it, list it and exit with code 5]"
)
min_accuracy_option = click.option(
    "--min-accuracy",
    type=Share(),
    metavar="SHARE",
    help="Fail (exit code 6) and save no model if test accuracy is below SHARE, 0 to 1 (val if there is no test).",
)
overwrite_run_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an existing run in RUN when the new one is complete; its train/test split is kept.",
)
bags_options = _together(
    click.option(
        "--bags",
        type=click.IntRange(ensemble_methods.MIN_BAGS, ensemble_methods.MAX_BAGS),
        metavar="N",
        help="Bagging: train N models on bootstrap samples and combine them (they are in RUN/bags).",
    ),
    click.option(
        "--method",
        type=click.Choice(ensemble_methods.names()),
        help="With --bags: how the predictions of the models are combined (see: transfer-cli ensemble --help).  "
        "[average]",
    ),
)
repeats_option = click.option(
    "--repeats",
    type=click.IntRange(MIN_REPEATS, MAX_REPEATS),
    metavar="N",
    help="Train N times, with the seeds (of training and split) SEED, SEED + 1 ..., and report how far the scores lie "
    "apart (the runs are in RUN/seed-SEED ...).",
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice([runtimes.AUTO, *runtimes.names()]),
    help="Engine that runs the network: LiteRT, Keras or OpenVINO.  [auto: the fastest that is installed]",
)
tta_option = click.option(
    "--tta",
    metavar="|".join([*tta.names(), "N"]),
    shell_complete=complete_tta,
    help="Test-time augmentation: average the predictions over flips, crops, or N random variants of each image.  "
    "[none]",
)
images_option = click.option(
    "--images",
    type=PATH,
    metavar="DIR",
    help="Folder of the images, if it has moved since training.  [the folder that RUN was trained on]",
)
for_excel_option = click.option(
    "--for-excel",
    is_flag=True,
    help="Write CSV that Excel opens by a double click: delimiter and decimal sign of your locale, six digits, and no "
    "cell is a formula.",
)
cache_option = click.option(
    "--cache-limit",
    metavar="SIZE",
    help=f"Maximum size of the cache, e.g. 500MB or 5GB; 0 turns caching off.  [{LIMIT // 10**9}GB]",
)
recipe_options = _together(
    click.option(
        "--recipe",
        metavar="NAME|FILE",
        shell_complete=complete_recipes,
        help="Recipe (all training settings): a built-in one (see: transfer-cli recipes list) or a TOML file.  "
        "[the default settings of the command]",
    ),
    set_option,
    seed_option(),
)
training_options = _together(
    click.option("-o", "--output", type=click.Path(), metavar="RUN", help="Folder of the run to write.  [runs/NAME]"),
    recipe_options,
    runtime_option,
    split_option,
    group_option(),
    strict_option,
    min_accuracy_option,
    overwrite_run_option,
)
bit_depth_option = click.option(
    "--bit-depth",
    type=click.IntRange(8, 16),
    metavar="N",
    help="Lowest bits that images with 16 bits per sample use, e.g. 12 for a 12-bit camera.  [as each file declares]",
)
network_options = _together(
    click.option(
        "--backbone",
        metavar="NAME|FILE.keras",
        shell_complete=complete_backbones,
        help="Pretrained network to build on (see: transfer-cli backbones list), or a file with your own network.  "
        "[mobilenet_v2]",
    ),
    click.option(
        "--preprocess",
        type=click.Choice([*backbones.PREPROCESSING]),
        help="How a network in a file expects its pixels: inside (it scales 0-255 itself), 0-1, -1-1, or as in "
        "keras.applications: tf, torch, caffe.  [required for --backbone FILE.keras]",
    ),
)
backbone_options = _together(
    network_options,
    click.option(
        "--weights",
        metavar="imagenet|none|FILE|RUN",
        shell_complete=complete_weights,
        help="Initial weights: imagenet (pretrained), none (random), a weights file, or an earlier run of finetune "
        "with the same network.  [imagenet; for FILE.keras those in it]",
    ),
    click.option(
        "--pooling",
        type=click.Choice(["avg", "max", "flatten", "levels"]),
        help="How feature maps become one vector: average pooling, max pooling or flatten of the last one; levels "
        "(extract only): average pooling of the last one at each resolution.  [levels; avg for finetune and with "
        "--layer]",
    ),
    click.option(
        "--layer",
        metavar="NAME",
        shell_complete=complete_layers,
        help="Use the output of this layer as features.  [last layer before the classification head]",
    ),
    bit_depth_option,
)
candidate_options = _together(
    click.option(
        "--among",
        type=comma_separated,
        metavar="NAMES",
        shell_complete=complete_backbone_lists,
        help="Try only these networks; comma-separated names or wildcards, e.g. 'mobilenet*,resnet50'.  "
        "[all with installed weights]",
    ),
    click.option("--download", is_flag=True, help="Download missing pretrained weights."),
)


def cache_of(options: Mapping[str, Any]) -> Cache:
    """Return the user's cache with the limit of ``--cache-limit``."""
    from transfer_cli import training_options

    return training_options.cache_of(options)


def loading(console: Console, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with which a model is loaded, from ``--runtime``, ``--cache-limit`` and ``--offline``."""
    runtime = options["runtime"] or runtimes.AUTO
    return {"runtime": runtime, "offline": console.offline, "cache": cache_of(options), "progress": console}


def check_suffix(path: Path, *suffixes: str) -> None:
    """Raise a usage error unless the name of a file to write has one of these suffixes."""
    if path.suffix.lower() not in suffixes:
        raise click.UsageError(f"Expected a file name that ends in {' or '.join(suffixes)}. Received: {path}.")


def set_resume_hint(finished: str, overwrite: bool = False) -> None:
    """Set the message of an interrupted command: `finished` work is kept, and how to continue."""
    without = " without --overwrite (which would start over)" if overwrite else ""
    hint = f"{finished} kept; run the same command again{without} to continue."
    click.get_current_context().meta[RESUME_HINT] = hint


def check_network(options: Mapping[str, Any]) -> None:
    """Raise a usage error if ``--backbone``, ``--preprocess`` and ``--weights`` do not fit together."""
    from transfer_cli.recipe.sections import Backbone, network_problem

    name, preprocess = options["backbone"], options["preprocess"]
    # What is wrong on the command line is a usage error, not a recipe error.
    if name and not backbones.is_network_file(name):
        backbones.find(name)
    elsewhere = [word for word in options.get("overrides") or () if word.partition("=")[0].startswith("backbone.")]
    if (name or preprocess) and not elsewhere and (name or not options.get("recipe")):
        name_or_default = name or Backbone().name
        if problem := network_problem(name_or_default, preprocess, options.get("weights") or ""):
            raise click.UsageError(problem)


def network_overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe settings that `network_options` override."""
    check_network(options)
    return {"backbone.name": options["backbone"], "backbone.preprocess": options["preprocess"]}


def backbone_overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe settings that `backbone_options`, ``--runtime`` and ``--seed`` override."""
    from transfer_cli import training_options

    check_network(options)
    return training_options.backbone_overrides(options)


def scan_images(
    folder: Path,
    options: Mapping[str, Any],
    *,
    group_by: str | None = None,
    for_training: bool = True,
    selection: ImageSelection | None = None,
    labels_optional: bool = False,
) -> ImageFolder:
    """Return the images of a folder or CSV file, read as `table_options` say.

    Parameters
    ----------
    folder : Path
    options : mapping of str to object
    group_by : str, optional
        That of the recipe.
    for_training : bool
    selection : ImageSelection, optional
        Default: that of ``--class-map`` and ``--omit``.
    labels_optional : bool
        Read a folder without classes as images without labels.
    """
    from transfer_cli import training_options

    return training_options.scan_images(
        folder,
        options,
        group_by=group_by,
        for_training=for_training,
        selection=selection,
        labels_optional=labels_optional,
    )


def training_request(
    console: Console, folder: ImageFolder, run: RunDirectory, options: Mapping[str, Any]
) -> TrainingRequest:
    """Return the request of a command that trains, from the options that it has."""
    from transfer_cli import training_options

    return training_options.training_request(folder, run, keywords(console, options), command_words(), console)


def keywords(console: Console, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a command by the names that `transfer_cli.training_options` knows them by."""
    if "preprocess" in options:
        check_network(options)
    return {**options, "set": options.get("overrides"), "offline": console.offline}


def command_words() -> list[str]:
    """Return the command as it was typed."""
    return ["transfer-cli", *sys.argv[1:]]
