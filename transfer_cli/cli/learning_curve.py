"""``transfer-cli learning-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    backbone_options,
    backbone_overrides,
    cache_option,
    check_suffix,
    group_option,
    output_option,
    recipe_options,
    runtime_option,
    scan_images,
    split_option,
    strict_option,
    table_options,
    training_request,
)
from transfer_cli.cli._types import PATH
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.learning_curves.results import LearningCurve


@click.command("learning-curve", short_help="Estimate what more training images would bring.")
@click.argument("folder", type=PATH)
@table_options
@backbone_options
@recipe_options
@runtime_option
@group_option(near_duplicates=False)
@split_option
@strict_option
@cache_option
@click.option(
    "--more",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Forecast the accuracy with N more images per class.",
)
@output_option("FILE.png", "PNG file to write.  [plots/FOLDER-learning-curve.png]")
@pass_console
def command(console: Console, /, folder: Path, output: Path | None, more: int, **options: Any) -> int:
    """Estimate whether more images would help: accuracy by number of training images.

    The classifier of extract is trained on five numbers of the images, from few to all, each with several random
    subsets, and scored by cross-validation, without the test images. A power law fitted to these scores tells what more
    images per class would probably bring, if they are of the same kind. The table is printed, a plot is written.

    \b
    Example:
        transfer-cli learning-curve photos
        transfer-cli learning-curve photos --more 500 --backbone mobilenet@0.25 -o curve.png
    """
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.rendering.png_provenance import LEARNING_CURVE, check_png_target
    from transfer_cli.runs.run_directory import RunDirectory

    overrides = {**backbone_overrides(options), "split.group_by": options["group_by"]}
    recipe = ExtractRecipe.load(options["recipe"], options["overrides"], overrides)
    images = scan_images(folder, options, group_by=recipe.split.group_by)
    target = output or Path("plots") / f"{images.name}-learning-curve.png"
    check_suffix(target, ".png")
    check_png_target(target, LEARNING_CURVE)

    from transfer_cli.learning_curves.learning_curve import learning_curve

    curve = learning_curve(training_request(console, images, RunDirectory(target), options), recipe, target, more=more)
    _print_curve(console, curve, target)
    return DONE_WITH_SKIPPED if curve.skipped else DONE


def _print_curve(console: Console, curve: LearningCurve, target: Path) -> None:
    images = counted(curve.images, "image")
    console.note(f"accuracy: cross-validated on {images}, mean of {curve.repeats} random subsets per fold")
    for item in curve.skipped:
        console.warn(f"{item.path} could not be read: {item.reason}")
    if curve.forecast:
        console.note(curve.forecast.summary())
    else:
        console.warn(curve.obstacle)
    console.note(f"plot: {target}")
    numeric = ("images", "images per class", "accuracy")
    rows = [
        [
            f"{point.images:.0f}",
            f"{point.images_per_class:.1f}",
            f"{point.accuracy['value']:.3f}",
            f"{point.accuracy['low']:.3f} to {point.accuracy['high']:.3f}",
        ]
        for point in curve.points
    ]
    console.table((*numeric, "95 % interval"), rows, {"output": str(target), **curve.to_dict()}, numeric)
