"""``transfer-cli map``."""

from __future__ import annotations

from pathlib import Path

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import pictures_option


@click.command("map")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The PNG to write.  [RUN/plots/map.png]")
@pictures_option
@click.option("--overwrite", is_flag=True, help="Draw it anew though most pictures are gone.")
@click.pass_context
def command(ctx: click.Context, /, run: Path, output: Path | None, images: Path | None, overwrite: bool) -> None:
    """Draw all pictures of RUN, those that its network finds alike side by side.

    Each picture is framed in the colour of its class, and a mistake has a corner in the colour of the class that it
    was taken for. map.csv, in RUN or beside the PNG that -o names, says where each picture lies, its class, its part
    and what it was taken for.

    \b
    Example:
        transfer-cli map runs/first
        transfer-cli map runs/first -o map.png
    """
    from transfer_cli.rendering.png_provenance import MAP, must_be_replaceable
    from transfer_cli.runs.completed_run import FinishedRun

    console = ctx.ensure_object(Console)
    finished = FinishedRun.read(run, images)
    target = output or finished.directory.plots / "map.png"
    if target.suffix.lower() != ".png":
        raise click.UsageError(f"{target} is no PNG. Expected a name that ends in .png.", ctx)
    must_be_replaceable(target, MAP)
    finished.must_not_lose(target, overwrite=overwrite)

    from transfer_cli.features.feature_map import map_run, must_be_a_map

    table = output.with_suffix(".csv") if output else finished.directory.map
    must_be_a_map(table)
    mapped = map_run(finished, target, table, progress=console)
    console.note(f"{mapped.drawn} of {mapped.images} pictures drawn; {table} has all of them")
    facts = {"output": str(target), "table": str(table), **vars(mapped)}
    console.result(str(target), facts)
