"""``transfer-cli data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_words,
    cache_of,
    cache_option,
    group_option,
    runtime_option,
    seed_option,
)
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED


@click.group("data")
def command() -> None:
    """Look at a folder of pictures before anything is learnt from it, or write its parts down."""


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@backbone_options
@runtime_option
@click.option("--no-probe", is_flag=True, help="Without a network: no suspects, and cropped copies are not found.")
@seed_option("Of the folds of the probe.  [0]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="[checks/NAME]")
@cache_option
@click.pass_context
def check_(ctx: click.Context, /, folder: Path, no_probe: bool, output: Path | None, **options: Any) -> None:
    """Find what is wrong with FOLDER, or with the pictures that a CSV file lists.

    Broken, tiny, dark, over-bright, blurred and oddly shaped pictures; pictures that are there twice, in two classes or
    in two parts; labels that look wrong to a classifier that did not see them; classes with few pictures. Writes
    check.html, check.json, suspects.csv and duplicates.csv. The exit code is 5 when pictures could not be read.

    \b
    Example:
        transfer-cli data check photos
        transfer-cli data check photos --no-probe -o checks/quick
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.models.weights.registry import must_be_known
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.run_directory import RunDirectory

    console = ctx.ensure_object(Console)
    recipe = ExtractRecipe.load(None, [], backbone_words(options))
    must_be_known(recipe.backbone.weights)
    images = ImageFolder.scan(folder, learns=False)
    target = output or Path("checks") / images.name

    from transfer_cli.audit import check
    from transfer_cli.audit.page import write_check
    from transfer_cli.runs.request import TrainingRequest
    from transfer_cli.training.setup import lifecycle

    check.must_be_free(target, images)
    console.note(images.summary())
    request = TrainingRequest(
        images, RunDirectory(target), offline=console.offline, cache=cache_of(options), progress=console
    )
    # As extract resolves it: what one of them has converted or computed, the other has in the cache.
    findings = check.check(request, lifecycle.resolved(request, recipe, keeps_model=True), probe=not no_probe)
    write_check(findings, target)
    for line in check.summary(findings):
        console.note(line)
    console.result(str(target), {"output": str(target), **findings.to_dict()})
    ctx.exit(DONE_WITH_SKIPPED if findings.skipped else DONE)


@command.command("split")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR|FILE.csv", required=True)
@click.option("--test", type=float, help="Share of the pictures for the test.  [0.2]")
@click.option("--val", type=float, help="Share that is held out to compare by.  [0]")
@seed_option("Another number parts the pictures otherwise.  [0]")
@group_option
@click.option("--link", is_flag=True, help="Hard links instead of copies.")
@backbone_options
@runtime_option
@cache_option
@click.pass_context
def split_(ctx: click.Context, /, folder: Path, output: Path, link: bool, **options: Any) -> None:
    """Write the parts of FOLDER down: as DIR/train/CLASS/..., or as a CSV file that extract and finetune take.

    The parts are those that extract would make. Nothing is overwritten; pictures that cannot be read are left out, and
    the exit code is then 5. The backbone is needed for --group-by near-duplicates alone.

    \b
    Example:
        transfer-cli data split photos -o photos-parted --test 0.2 --val 0.1
        transfer-cli data split photos -o photos.csv --group-by 'patient(\\d+)'
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.runs.run_directory import RunDirectory

    console = ctx.ensure_object(Console)
    words = {
        **backbone_words({**options, "seed": None}),
        **{f"split.{name}": options[name] for name in ("test", "val", "seed", "group_by")},
    }
    recipe = ExtractRecipe.load(None, [], words)
    images = ImageFolder.scan(folder)

    from transfer_cli.data import export_split
    from transfer_cli.runs.request import TrainingRequest
    from transfer_cli.training.setup import lifecycle
    from transfer_cli.training.setup.preflight import survey

    export_split.must_be_new(output, images)
    console.note(images.summary())
    request = TrainingRequest(
        images, RunDirectory(output), offline=console.offline, cache=cache_of(options), progress=console
    )
    found = survey(request, lifecycle.resolved(request, recipe, keeps_model=True), decodes=True)
    export_split.lay_out(found.split, images, output, link=link)
    console.note(found.split.summary())
    for line in found.split.warnings():
        console.warn(line)
    for item in found.skipped:
        console.warn(f"left out {item.path}: {item.reason}")
    console.note(f"next: transfer-cli extract {output}")
    facts = {"output": str(output), "parts": found.split.counts(), "skipped": len(found.skipped)}
    console.result(str(output), facts)
    ctx.exit(DONE_WITH_SKIPPED if found.skipped else DONE)
