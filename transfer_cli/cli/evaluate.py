"""``transfer-cli evaluate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from transfer_cli.catalog import tta
from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import BAR, cache_of, cache_option, runtime_option, tta_option
from transfer_cli.cli._summaries import end_of_evaluation


@click.command("evaluate")
@click.argument("model", metavar="RUN|BUNDLE")
@click.argument("folder", metavar="FOLDER|CSV", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="[RUN/evaluations/FOLDER]")
@click.option("--part", type=click.Choice(["train", "val", "test"]), help="Of a folder laid out in parts.  [all]")
@click.option("--min-accuracy", **BAR, help="Exit code 6 below it, on pictures that had no say in the model.")
@tta_option
@runtime_option
@cache_option
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    folder: Path,
    output: Path | None,
    part: str | None,
    min_accuracy: float | None,
    strict: bool,
    **options: Any,
) -> None:
    """Say how good a finished classifier is on other pictures.

    FOLDER holds one sub-folder a class, some of the model's classes or all, or parts (train, val, test) of such; or a
    CSV file says what is on them. Written are predictions.csv, metrics.json, confusion.csv and skipped.csv. Pictures
    that the model has learnt from, or that it was chosen by, are told by their content; the score without them is said.
    With --tta the score is the one with it, and what that cost and brought is said beside it.

    \b
    Example:
        transfer-cli evaluate runs/first new_photos
        transfer-cli evaluate runs/first new_photos --min-accuracy 0.8 -o checked
        transfer-cli evaluate runs/first new_photos --tta flip
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.runs.accuracy_gate import Gate
    from transfer_cli.runs.evaluation_directory import EvaluationDirectory, is_model, run_with

    console = ctx.ensure_object(Console)
    method = None if options["tta"] is None else tta.find(options["tta"]).name
    if is_model(folder) and Path(model).exists() and not is_model(Path(model)):
        ordered = f"transfer-cli evaluate {shlex.quote(str(folder))} {shlex.quote(model)}"
        raise click.UsageError(f"{folder} is a model and {model} is none: the model comes first.\n{ordered}", ctx)
    images = ImageFolder.scan(folder, learns=False)
    run = run_with(model)
    if output is None and run is None and Path(model).exists():
        raise click.UsageError(f"{model} does not lie in a run: say with -o DIR where to write.", ctx)
    name = "-".join(word for word in (images.name, part, method) if word)
    place = EvaluationDirectory(output or (run.evaluations if run else Path(model)) / name)
    gate = None if min_accuracy is None else Gate(min_accuracy)
    if gate:
        gate.must_fit(images.task)

    from transfer_cli.evaluation.evaluate import evaluate

    found = evaluate(
        model,
        images,
        place,
        part=part,
        tta=method,
        runtime=options["runtime"] or AUTO,
        strict=strict,
        offline=console.offline,
        cache=cache_of(options),
        progress=console,
    )
    code = end_of_evaluation(console, found)
    if gate:
        left = f"The evaluation is in {place.path}."
        gate.must_be_fair(found.is_known, left)
        gate.judge(
            found.metrics,
            (found.judged,),
            left=left,
            hint="More pictures, or a better model, may reach it.",
            none=f"Evaluate pictures that it has not seen: transfer-cli evaluate {shlex.quote(model)} OTHER_PICTURES",
        )
    ctx.exit(code)
