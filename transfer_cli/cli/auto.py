"""``transfer-cli auto``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import BAR, Duration, cache_of, cache_option, candidate_options, seed_option
from transfer_cli.cli._summaries import end_of_training

_USUAL = 600.0


@click.command("auto")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="RUN", help="The run to write.  [runs/auto-FOLDER]"
)
@click.option(
    "--time-budget", type=Duration(), default=_USUAL, metavar="TIME", help="Into which training is planned.  [10m]"
)
@candidate_options
@click.option("--group-by", metavar="REGEX", help="Keep pictures together whose paths agree in this.")
@click.option("--split", type=click.Path(), metavar="FILE", help="Follow the parts in a split.csv.")
@seed_option(default=0)
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@click.option("--min-accuracy", **BAR, help="Write no model below it, on test.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run; its test pictures stay the same.")
@cache_option
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Make the best model that some minutes allow, and say how good it is.

    The pictures of test are put aside. The others are checked; the backbones whose weights are here are ranked; the
    best two are extracted and fine-tuned; all that is joined. What does best on val is taken, the ensemble only where
    val says that it is better. Then test is read once, and the report is written. A stopped one does what is missing.

    \b
    Example:
        transfer-cli auto photos
        transfer-cli auto photos --time-budget 30m --among 'mobilenet*,efficientnet*' -o runs/best
    """
    begun = time.monotonic()

    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.data.split import Split
    from transfer_cli.recipe.auto import AutoRecipe
    from transfer_cli.runs.run_directory import RunDirectory, default_path

    console = ctx.ensure_object(Console)
    images = ImageFolder.scan(folder)
    run = RunDirectory(output or default_path("auto", images.name))
    recipe = AutoRecipe(
        seed=options["seed"],
        seconds=options["time_budget"],
        among=options["among"] or (),
        download=options["download"],
        group_by=options["group_by"],
    )

    from transfer_cli.auto.auto import auto

    result = auto(
        images,
        recipe,
        run,
        split=Split.read(Path(options["split"])) if options["split"] else None,
        offline=console.offline,
        strict=options["strict"],
        overwrite=options["overwrite"],
        command=["transfer-cli", *sys.argv[1:]],
        cache=cache_of(options),
        progress=console,
        min_accuracy=options["min_accuracy"],
        begun=begun,
    )
    ctx.exit(end_of_training(console, result))
