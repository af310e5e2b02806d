"""``transfer-cli preview``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    check_suffix,
    network_options,
    network_overrides,
    output_option,
    recipe_options,
    scan_images,
    table_options,
)
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted


@click.command("preview", short_help="Draw example images with the augmentation of a recipe.")
@click.argument("folder", type=PATH)
@table_options
@network_options
@recipe_options
@output_option("FILE.png", "PNG file to write.  [plots/FOLDER-preview.png]")
@pass_console
def command(console: Console, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Draw example images of FOLDER as the network sees them in training: with the augmentation of a recipe.

    Each row shows one image: first the original, then its random variants in the first epochs.

    \b
    Example:
        transfer-cli preview photos --recipe classic-augmentation
        transfer-cli preview photos --set augmentation.rotation_range=90
    """
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.rendering.png_provenance import PREVIEW, made_by

    recipe = FinetuneRecipe.load(
        options["recipe"], options["overrides"], {**network_overrides(options), "seed": options["seed"]}
    )
    images = scan_images(folder, options)
    target = output or Path("plots") / f"{images.name}-preview.png"
    check_suffix(target, ".png")
    check_writable(target, is_ours=made_by(target) == PREVIEW)

    from transfer_cli.rendering.fonts import missing_letters_warning
    from transfer_cli.training.preview import preview

    with console.track("drawing the variants", None):
        rows = preview(images, recipe, target)
    classes = f" ({rows} of {len(images.class_names)} classes)" if rows < len(images.class_names) else ""
    console.warn(*images.warnings(), *missing_letters_warning(images.class_names[:rows]))
    console.note(
        *images.selection_notes, f"{counted(rows, 'image')}{classes}: the original and its variants in 7 epochs"
    )
    console.output(target, rows=rows)
