"""``transfer-cli ensemble``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import ensemble_methods
from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import cache_option, command_words, images_option, output_option, seed_option
from transfer_cli.cli._summaries import end_of_ensemble
from transfer_cli.cli._types import ABOVE_ZERO, PATH


@click.command("ensemble", short_help="Combine several trained models into one.")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=PATH, shell_complete=complete_models)
@output_option("RUN", "Folder of the run to write.  [runs/ensemble-FOLDER]")
@click.option(
    "--method",
    type=click.Choice(ensemble_methods.names()),
    help="How the members' predictions are combined.  [weighted; average if there are no validation images]",
)
@click.option("--max-models", type=click.IntRange(min=1), metavar="N", help="Greedy only: maximum number of members.")
@click.option("--max-ms", type=ABOVE_ZERO, metavar="MS", help="Greedy only: maximum milliseconds per image.")
@seed_option("Random seed of the cross-validation folds.  [0]", default=0)
@images_option
@cache_option
@click.option("--overwrite", is_flag=True, help="Replace an existing run.")
@pass_console
def command(console: Console, /, runs: tuple[Path, ...], **options: Any) -> int:
    """Combine several trained models into one (averaging, voting, stacking, weight soup).

    Each RUN is a finished run of extract, finetune or ensemble; all need the same classes and the same train/val/test
    split (use --split FIRST_RUN/split.csv when training the others). The result is a run that predict, evaluate and
    report accept. No network is trained: the members' saved predictions are combined; weights, selection and stacking
    are fitted on the validation images.

    \b
    average   mean of the members' probabilities
    vote      the class that most members predict; ties by confidence
    weighted  weighted mean of the probabilities
    greedy    mean of the members that are best together (greedy selection, with repeats)
    stack     logistic regression on the members' probabilities (stacking)
    soup      one network with the mean weights of fine-tuned members of the same backbone

    \b
    Example:
        transfer-cli ensemble runs/a runs/b
        transfer-cli ensemble runs/a runs/b -o runs/both
        transfer-cli ensemble runs/a runs/b runs/c -o runs/quick --method greedy --max-ms 20
    """
    method, limits = options["method"], (options["max_models"], options["max_ms"])
    if method != ensemble_methods.GREEDY and any(limits):
        received = method or "no --method"
        raise click.UsageError(
            f"--max-models and --max-ms need --method {ensemble_methods.GREEDY}. Received: {received}."
        )

    from transfer_cli.ensembling.ensemble import ensemble
    from transfer_cli.training_options import ensemble_request, naming

    request, recipe = ensemble_request(runs, options, command_words(), console)
    return end_of_ensemble(console, naming(options)(request, lambda own: ensemble(own, recipe)))
