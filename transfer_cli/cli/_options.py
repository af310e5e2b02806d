"""Options that several commands share, and their completion in a shell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from transfer_cli.catalog import backbones, ensemble_methods, runtimes, tta
from transfer_cli.cli._console import Console
from transfer_cli.cli._types import Names, Seed, Share
from transfer_cli.io.cache import LIMIT, Cache, parse_size

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.runs.request import TrainingRequest
    from transfer_cli.runs.run_directory import RunDirectory

Command = TypeVar("Command", bound=Callable[..., Any])


def seed_option(text: str = "Random seed.  [0]", default: int | None = None) -> Callable[[Command], Command]:
    """Return the decorator that adds ``--seed``."""
    return click.option("--seed", type=Seed(), default=default, metavar="N", help=text)


def recipe_options(command: Command) -> Command:
    """Add the choice of a recipe and of settings that override it."""
    options = [
        click.option(
            "--recipe",
            metavar="NAME|FILE",
            shell_complete=complete_recipes,
            help="Recipe (all training settings): a built-in one (see: transfer-cli recipes list) or a TOML file.  "
            "[the default settings of the command]",
        ),
        set_option,
        seed_option(),
    ]
    return _added(options, command)


def set_option(command: Command) -> Command:
    """Add ``--set``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one recipe setting, e.g. --set batch_size=16 (repeatable; all settings: docs/recipes.md).",
    )(command)


def training_options(command: Command) -> Command:
    """Add the options that extract and finetune share."""
    options = [
        click.option(
            "-o", "--output", type=click.Path(), metavar="RUN", help="Folder of the run to write.  [runs/NAME]"
        ),
        recipe_options,
        runtime_option,
        split_option,
        group_option(),
        strict_option,
        min_accuracy_option,
        overwrite_run_option,
    ]
    return _added(options, command)


def split_option(command: Command) -> Command:
    """Add ``--split``."""
    return click.option(
        "--split",
        type=click.Path(path_type=Path),
        metavar="FILE.csv",
        help="Use the train/val/test assignment of this CSV, e.g. OTHER_RUN/split.csv.  [a new split]",
    )(command)


def strict_option(command: Command) -> Command:
    """Add ``--strict``."""
    return click.option(
        "--strict", is_flag=True, help="Stop at the first unreadable image.  [skip it, list it and exit with code 5]"
    )(command)


def min_accuracy_option(command: Command) -> Command:
    """Add ``--min-accuracy`` of a command that trains."""
    return click.option(
        "--min-accuracy",
        type=Share(),
        metavar="SHARE",
        help="Fail (exit code 6) and save no model if test accuracy is below SHARE, 0 to 1 (val if there is no test).",
    )(command)


def overwrite_run_option(command: Command) -> Command:
    """Add ``--overwrite`` of a command that trains."""
    return click.option(
        "--overwrite", is_flag=True, help="Replace an existing run in RUN; its train/test split is kept."
    )(command)


def bags_option(command: Command) -> Command:
    """Add ``--bags``."""
    return click.option(
        "--bags",
        type=click.IntRange(ensemble_methods.MIN_BAGS, ensemble_methods.MAX_BAGS),
        metavar="N",
        help="Bagging: train N models on bootstrap samples and average them (they are in RUN/bags).",
    )(command)


def backbone_options(command: Command) -> Command:
    """Add the choice of the network, its weights and its output layer."""
    options = [
        click.option(
            "--backbone",
            metavar="NAME",
            shell_complete=complete_backbones,
            help="Pretrained network to build on (see: transfer-cli backbones list).  [mobilenet_v2]",
        ),
        click.option(
            "--weights",
            metavar="imagenet|none|FILE",
            help="Initial weights: imagenet (pretrained), none (random), or a weights file.  [imagenet]",
        ),
        click.option(
            "--pooling",
            type=click.Choice(["avg", "max", "flatten"]),
            help="How the last feature map becomes one vector: average pooling, max pooling, or flatten.  [avg]",
        ),
        click.option(
            "--layer",
            metavar="NAME",
            help="Use the output of this layer as features.  [last layer before the classification head]",
        ),
    ]
    return _added(options, command)


def candidate_options(command: Command) -> Command:
    """Add the choice of the networks to compare, and ``--download``."""
    options = [
        click.option(
            "--among",
            type=Names(),
            metavar="NAMES",
            shell_complete=complete_backbones,
            help="Try only these networks; comma-separated names or wildcards, e.g. 'mobilenet*,resnet50'.  "
            "[all with installed weights]",
        ),
        click.option("--download", is_flag=True, help="Download missing pretrained weights."),
    ]
    return _added(options, command)


def runtime_option(command: Command) -> Command:
    """Add ``--runtime``."""
    return click.option(
        "--runtime",
        type=click.Choice([runtimes.AUTO, *runtimes.names()]),
        help="Engine that runs the network: LiteRT, Keras or OpenVINO.  [auto: the fastest that is installed]",
    )(command)


def tta_option(command: Command) -> Command:
    """Add ``--tta``."""
    return click.option(
        "--tta",
        metavar="|".join([*tta.names(), "N"]),
        shell_complete=complete_tta,
        help="Test-time augmentation: average the predictions over flips, crops, or N random variants of each image.  "
        "[none]",
    )(command)


def group_option(near_duplicates: bool = True) -> Callable[[Command], Command]:
    """Return the decorator that adds ``--group-by``."""
    text = "Never split a group between train and test: images whose path has the same REGEX match (e.g. '{}'{}."
    return click.option(
        "--group-by",
        metavar="REGEX|near-duplicates" if near_duplicates else "REGEX",
        help=text.format(r"ST\d+", " for stations), or near-duplicates" if near_duplicates else " for stations)"),
    )


def images_option(command: Command) -> Command:
    """Add ``--images``."""
    return click.option(
        "--images",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of the images, if it has moved since training.  [the folder that RUN was trained on]",
    )(command)


def cache_option(command: Command) -> Command:
    """Add ``--cache-limit``."""
    text = f"Maximum size of the cache, e.g. 500MB or 5GB; 0 turns caching off.  [{LIMIT // 10**9}GB]"
    return click.option("--cache-limit", metavar="SIZE", help=text)(command)


def cache_of(options: Mapping[str, Any]) -> Cache:
    """Return the user's cache with the limit of ``--cache-limit``."""
    limit = options.get("cache_limit")
    return Cache.of_user(None if limit is None else parse_size(limit))


def check_suffix(path: Path, *suffixes: str) -> None:
    """Raise a usage error unless the name of a file to write has one of these suffixes."""
    if path.suffix.lower() not in suffixes:
        raise click.UsageError(f"Expected a file name that ends in {' or '.join(suffixes)}. Received: {path}.")


def set_resume_hint(ctx: click.Context, finished: str, overwrite: bool = False) -> None:
    """Set the message of an interrupted command: `finished` work is kept, and how to continue."""
    without = " without --overwrite (which would start over)" if overwrite else ""
    ctx.meta["resume_hint"] = f"{finished} kept; run the same command again{without} to continue."


def backbone_overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe settings that `backbone_options`, ``--runtime`` and ``--seed`` override."""
    if options["backbone"]:
        # A wrong name on the command line is a usage error, not a recipe error.
        backbones.find(options["backbone"])
    return {
        "backbone.name": options["backbone"],
        "backbone.weights": options["weights"],
        "backbone.pooling": options["pooling"],
        "backbone.layer": options["layer"],
        "inference.runtime": options["runtime"],
        "seed": options["seed"],
    }


def training_request(
    console: Console, folder: ImageFolder, run: RunDirectory, options: Mapping[str, Any]
) -> TrainingRequest:
    """Return the request of a command that trains, from the options that it has."""
    from transfer_cli.data.split import Split
    from transfer_cli.runs.request import TrainingRequest

    request = TrainingRequest(
        folder,
        run,
        split=Split.read(Path(options["split"])) if options.get("split") else None,
        offline=console.offline,
        command=["transfer-cli", *sys.argv[1:]],
        cache=cache_of(options),
        progress=console,
    )
    names = ("strict", "overwrite", "min_accuracy", "time_budget", "begun", "tensorboard")
    return replace(request, **{name: options[name] for name in names if name in options})


def complete_backbones(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of backbones that start with `incomplete`."""
    return [CompletionItem(name) for name in backbones.names() if name.startswith(incomplete)]


def complete_tta(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of test-time augmentations that start with `incomplete`."""
    return [CompletionItem(name) for name in tta.names() if name.startswith(incomplete)]


def complete_recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of recipes that start with `incomplete`."""
    from transfer_cli.recipe.recipes import recipe_names

    return [CompletionItem(name) for name in recipe_names() if name.startswith(incomplete)]


def _added(options: Sequence[Callable[..., Any]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
