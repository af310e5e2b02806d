"""``transfer-cli ensemble``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import ensemble_methods
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import cache_of, cache_option, pictures_option, seed_option
from transfer_cli.cli._summaries import end_of_ensemble


@click.command("ensemble")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="RUN", required=True, help="The run to write.")
@click.option(
    "--method",
    type=click.Choice(ensemble_methods.names()),
    help="How the answers become one.  [weighted; average where nothing was held out]",
)
@click.option("--max-models", type=click.IntRange(min=1), help="Of greedy: so many different members at most.")
@click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), help="Of greedy: milliseconds a picture.")
@seed_option("Of the folds of val.  [0]", default=0)
@pictures_option
@cache_option
@click.option("--overwrite", is_flag=True, help="Replace an earlier run.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    output: Path,
    method: str | None,
    max_models: int | None,
    max_ms: float | None,
    seed: int,
    images: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Join finished runs into one model.

    RUNs are of extract and finetune in any mix (and ensembles), on the same classes and the same parts. The ensemble is
    a run like any other: predict, evaluate and report take it. What the members said of val and test lies in their
    runs, so that nothing is trained, and no picture is read but for a soup. What weighted, greedy and stack fit is
    fitted on val.

    \b
    average   the mean of the probabilities
    vote      what most members name; among equals what they are surest of
    weighted  a weighted mean
    greedy    the mean of those members that do best together, some counted several times
    stack     a logistic regression on the members' probabilities
    soup      one network with the mean of the weights of fine-tuned members of one backbone

    \b
    Example:
        transfer-cli ensemble runs/a runs/b -o runs/both
        transfer-cli ensemble runs/a runs/b runs/c -o runs/quick --method greedy --max-ms 20
    """
    from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
    from transfer_cli.runs.run_directory import RunDirectory

    console = ctx.ensure_object(Console)
    if method != ensemble_methods.GREEDY and (max_models or max_ms):
        raise click.UsageError(
            f"--max-models and --max-ms are for --method {ensemble_methods.GREEDY}. Received: {method or 'no method'}.",
            ctx,
        )
    recipe = EnsembleRecipe(seed=seed, ensemble=EnsembleOptions(method=method, max_models=max_models, max_ms=max_ms))

    from transfer_cli.ensembling.ensemble import ensemble

    result = ensemble(
        runs,
        recipe,
        RunDirectory(output),
        overwrite=overwrite,
        images=images,
        command=["transfer-cli", *sys.argv[1:]],
        cache=cache_of(options),
        progress=console,
    )
    ctx.exit(end_of_ensemble(console, result))
