"""``transfer-cli preview``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import recipe_options


@click.command("preview")
@click.argument("folder", type=click.Path(path_type=Path))
@recipe_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The PNG to write.  [plots/NAME-preview.png]")
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Draw what the network will see: pictures of FOLDER as a recipe augments them.

    A row is a picture, first as it is, then as it is in each of the first epochs.

    \b
    Example:
        transfer-cli preview photos --recipe classic-augmentation
        transfer-cli preview photos --set augmentation.rotation_range=90
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.io.atomic import must_be_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.training.loop.plots import is_preview

    console = ctx.ensure_object(Console)
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], {"seed": options["seed"]})
    images = ImageFolder.scan(folder)
    target = output or Path("plots") / f"{images.name}-preview.png"
    if target.suffix.lower() != ".png":
        raise click.UsageError(f"{target} is no PNG. Expected a name that ends in .png.", ctx)
    # An earlier preview is replaced; a picture of somebody's is not.
    if not is_preview(target):
        must_be_writable(target)

    from transfer_cli.training.preview import preview

    rows = preview(images, recipe, target)
    of = f" of the first {rows} of {len(images.class_names)} classes" if rows < len(images.class_names) else ""
    console.note(f"{rows} pictures{of}, as they are and in each of 7 epochs")
    console.result(str(target), {"output": str(target), "rows": rows})
