"""``transfer-cli preview``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import check_suffix, recipe_options


@click.command("preview", short_help="Draw example images with the augmentation of a recipe.")
@click.argument("folder", type=click.Path(path_type=Path))
@recipe_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="PNG file to write.  [plots/FOLDER-preview.png]",
)
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Draw example images of FOLDER as the network sees them in training: with the augmentation of a recipe.

    Each row shows one image: first the original, then its random variants in the first epochs.

    \b
    Example:
        transfer-cli preview photos --recipe classic-augmentation
        transfer-cli preview photos --set augmentation.rotation_range=90
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.training.loop.preview_plot import is_preview

    console = ctx.ensure_object(Console)
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], {"seed": options["seed"]})
    images = ImageFolder.scan(folder)
    target = output or Path("plots") / f"{images.name}-preview.png"
    check_suffix(target, ".png")
    # An earlier preview may be replaced, any other file may not.
    if not is_preview(target):
        check_writable(target)

    from transfer_cli.training.preview import preview

    rows = preview(images, recipe, target)
    classes = f" ({rows} of {len(images.class_names)} classes)" if rows < len(images.class_names) else ""
    console.note(f"{rows} images{classes}: the original and its variants in 7 epochs")
    console.result(str(target), {"output": str(target), "rows": rows})
