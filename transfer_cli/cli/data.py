"""``transfer-cli data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_overrides,
    cache_option,
    group_option,
    output_option,
    runtime_option,
    scan_images,
    seed_option,
    table_options,
    training_request,
)
from transfer_cli.cli._summaries import warn_skipped
from transfer_cli.cli._types import PATH
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import shell_command


@click.group("data", short_help="Check an image folder, or write its train/val/test split.")
def command() -> None:
    """Check an image folder for problems (check), or write its train/val/test split (split)."""


@command.command("check")
@click.argument("folder", type=PATH)
@table_options
@backbone_options
@runtime_option
@click.option(
    "--no-probe",
    is_flag=True,
    help="Skip the neural network: faster, but no search for wrong labels and cropped duplicates.",
)
@seed_option("Random seed of the cross-validation folds.  [0]")
@output_option("DIR", "Folder to write.  [checks/FOLDER]")
@cache_option
@pass_console
def check_(console: Console, /, folder: Path, no_probe: bool, output: Path | None, **options: Any) -> int:
    """Check an image folder for problems before training.

    FOLDER has one sub-folder of images per class, or is a CSV file (see extract). Reports unreadable, tiny, dark,
    over-bright, blurred and oddly shaped images; duplicates and near-duplicates, also across classes and across
    train/val/test; labels that may be wrong (cross-validated classifier); classes with few images. Of images
    without classes all but the labels is checked. Writes check.html, check.json, suspects.csv and duplicates.csv. The
    exit code is 5 if some images could not be read.

    \b
    Example:
        transfer-cli data check photos
        transfer-cli data check photos --no-probe -o checks/quick
    """
    from transfer_cli.models.weights.own_weights import check_weights
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.run_directory import RunDirectory

    recipe = ExtractRecipe.load(None, [], backbone_overrides(options))
    check_weights(recipe.backbone.weights, recipe.spec)
    images = scan_images(folder, options, for_training=False, labels_optional=True)
    target = output or Path("checks") / images.name

    from transfer_cli.audit import check
    from transfer_cli.audit.advice import advice
    from transfer_cli.audit.page import write_check
    from transfer_cli.training.setup.claim import sample_warnings_of
    from transfer_cli.training.setup.resolve import resolve_recipe

    check.check_free(target, images)
    console.note(images.summary(), *images.selection_notes, *images.merged_notes())
    console.warn(*images.warnings())
    request = training_request(console, images, RunDirectory(target), options)
    # Resolved as by extract, so that the two share cached features and converted networks.
    console.warn(*sample_warnings_of(request, recipe))
    findings = check.check(request, resolve_recipe(request, recipe, keeps_model=True), probe=not no_probe)
    names = ("class_level", "path_column", "label_column", "images", "class_map", "omit")
    given = {f"--{name.replace('_', '-')}": str(options[name]) for name in names if options[name]}
    lines = advice(findings, given, target)
    write_check(findings, target, lines)
    console.note(*findings.summary(), *lines)
    console.output(target, **findings.to_dict())
    return DONE_WITH_SKIPPED if findings.skipped else DONE


@command.command("split")
@click.argument("folder", type=PATH)
@table_options
@output_option("DIR|FILE.csv", "Folder or CSV file to write.", required=True)
@click.option("--test", type=float, metavar="SHARE", help="Share of images for testing, 0 to 1.  [0.2]")
@click.option("--val", type=float, metavar="SHARE", help="Share of images for validation, 0 to 1.  [0]")
@seed_option("Random seed of the split; another number gives another split.  [0]")
@group_option()
@click.option("--link", is_flag=True, help="Make hard links instead of copies (no extra disk space).")
@backbone_options
@runtime_option
@cache_option
@pass_console
def split_(console: Console, /, folder: Path, output: Path, link: bool, **options: Any) -> int:
    """Write the train/val/test split as folders or as a CSV file.

    DIR gets the folders train, val and test, each with one sub-folder per class; FILE.csv gets the columns path, label
    and split. extract and finetune accept both. It is the split that extract would make. Existing files are not
    overwritten. Unreadable images are left out, with exit code 5. The options of the network matter only for --group-by
    near-duplicates.

    \b
    Example:
        transfer-cli data split photos -o photos-split --test 0.2 --val 0.1
        transfer-cli data split photos -o photos.csv --group-by 'patient(\\d+)'
    """
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.run_directory import RunDirectory

    overrides = {
        **backbone_overrides({**options, "seed": None}),
        **{f"split.{name}": options[name] for name in ("test", "val", "seed", "group_by")},
    }
    recipe = ExtractRecipe.load(None, [], overrides)
    images = scan_images(folder, options, group_by=recipe.split.group_by)

    from transfer_cli.data import export_split
    from transfer_cli.training.setup.claim import sample_warnings_of
    from transfer_cli.training.setup.preflight import survey
    from transfer_cli.training.setup.resolve import resolve_recipe

    export_split.check_target(output, images)
    console.note(*images.notes())
    console.warn(*images.warnings())
    request = training_request(console, images, RunDirectory(output), options)
    console.warn(*sample_warnings_of(request, recipe))
    surveyed = survey(request, resolve_recipe(request, recipe, keeps_model=True), decodes=True)
    export_split.export_split(surveyed.split, images, output, link=link, progress=console)
    console.note(surveyed.split.summary())
    console.warn(*surveyed.split.warnings())
    warn_skipped(console, surveyed.skipped)
    console.note(f"next: transfer-cli extract {shell_command(output)}")
    console.output(output, split=surveyed.split.counts(), skipped=len(surveyed.skipped))
    return DONE_WITH_SKIPPED if surveyed.skipped else DONE
