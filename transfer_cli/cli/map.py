"""``transfer-cli map``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import check_suffix, images_option, output_option
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted


@click.command("map", short_help="Draw all images of a run on a 2-D map by similarity.")
@click.argument("run", type=PATH, shell_complete=complete_models)
@output_option("FILE.png", "PNG file to write.  [RUN/plots/map.png]")
@images_option
@click.option(
    "--perplexity",
    type=click.FloatRange(1, min_open=True),
    metavar="N",
    help="About how many neighbours each image is kept near: lower for small groups, higher for the whole.  "
    "[30, or a third of the images if that is less]",
)
@click.option("--overwrite", is_flag=True, help="Redraw although most image files are missing.")
@pass_console
def command(
    console: Console, /, run: Path, output: Path | None, images: Path | None, perplexity: float | None, overwrite: bool
) -> None:
    """Draw all images of a run on a 2-D map (t-SNE), similar images next to each other.

    RUN is the folder that a training command wrote. Each image has a frame in the colour of its class; a misclassified
    image also has a corner in the colour of the predicted class. map.csv, in RUN or beside the PNG of -o, has the
    position, class, split and prediction of each image; of images without labels the position alone.

    \b
    Example:
        transfer-cli map runs/first
        transfer-cli map runs/first -o map.png
    """
    from transfer_cli.rendering.png_provenance import MAP, check_png_target
    from transfer_cli.runs.completed_run import FinishedRun

    finished = FinishedRun.read(run, images)
    target = output or finished.directory.plots / "map.png"
    check_suffix(target, ".png")
    check_png_target(target, MAP)
    finished.check_images_not_lost(target, overwrite=overwrite)

    from transfer_cli.features.feature_map import check_map_table, draw_run_map

    table = output.with_suffix(".csv") if output else finished.directory.map
    check_map_table(table)
    mapped = draw_run_map(finished, target, table, progress=console, perplexity=perplexity)
    console.note(f"{mapped.drawn} of {counted(mapped.images, 'image')} drawn; {table} lists all")
    console.output(target, table=str(table), **vars(mapped))
