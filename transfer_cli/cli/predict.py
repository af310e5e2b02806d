"""``transfer-cli predict``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.calibration.rejection import COVERAGE
from transfer_cli.catalog import tta
from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import cache_of, cache_option, runtime_option, tta_option
from transfer_cli.cli._summaries import end_of_prediction
from transfer_cli.data.predictions import FORMATS
from transfer_cli.progress import SILENT

if TYPE_CHECKING:
    from transfer_cli.inference.models import AbstractModel
    from transfer_cli.inference.reject import Rejecting


@click.command("predict")
@click.argument("model", metavar="RUN|BUNDLE|FILE|imagenet:BACKBONE")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option("--format", "format_", type=click.Choice(FORMATS), help="[by the name of --output, else csv]")
@click.option("--top-k", type=click.IntRange(min=1), help="The k best classes instead of every probability.")
@click.option("--unknown", is_flag=True, help=f"Say unknown of what the model cannot judge: --coverage {COVERAGE}.")
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True),
    help="Say unknown so that this share of the pictures of val is kept.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Say unknown where the class is less probable than this."
)
@tta_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write.  [stdout]")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True)
@runtime_option
@cache_option
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    paths: tuple[str, ...],
    format_: str | None,
    top_k: int | None,
    output: Path | None,
    batch_size: int,
    strict: bool,
    **options: Any,
) -> None:
    """Say what is on pictures: one row a picture, in input order.

    FILE is what export wrote: model.onnx, .tflite, .xml or .keras.
    PATHS are pictures, folders of pictures, or - for paths on stdin, one a line. A picture that cannot be read is
    listed on stderr, and the exit code is 5. With --unknown the label of a picture is unknown where its class is
    improbable, or the picture unlike all that was learnt from; what the model would say and why it should not be
    asked stand beside it. Foreign pictures can still be named.

    \b
    Example:
        transfer-cli predict runs/first sample_data/patterns -o predictions.csv
        transfer-cli predict runs/first trap/ --unknown --format table
        transfer-cli predict imagenet:mobilenet_v2 holiday.jpg --format table
        transfer-cli predict runs/first holiday.jpg --tta ten-crop --format table
        find photos -name '*.jpg' | transfer-cli predict runs/first -
    """
    from transfer_cli.io.atomic import must_be_writable
    from transfer_cli.io.discovery import at_least_one, walk_paths

    console = ctx.ensure_object(Console)
    # A name that was mistyped is said before anything is loaded.
    method = None if options["tta"] is None else tta.find(options["tta"])
    format_ = format_ or _format_of(output, console)
    if output:
        must_be_writable(output)
    elif format_ == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal: give -o FILE.", ctx)
    files = at_least_one(walk_paths(_typed(paths)))

    from transfer_cli.inference.load import load
    from transfer_cli.inference.predict import predict, write_predictions
    from transfer_cli.inference.runtimes import WORTH_CONVERTING
    from transfer_cli.inference.tta import Augmented

    ahead, files = _ahead(files, WORTH_CONVERTING if "-" not in paths else 0)
    with console.track("loading the model", None):
        loaded = load(
            model,
            runtime=options["runtime"] or AUTO,
            images=ahead,
            offline=console.offline,
            cache=cache_of(options),
            progress=console,
        )
    request = loaded if method is None else Augmented(loaded, method.name)
    rejecting = _rejecting(request, console, options)
    request = rejecting.model if rejecting else request
    batches = predict(request, files, batch_size=batch_size, strict=strict, rejecting=rejecting)
    rows, skipped = write_predictions(
        batches,
        output or console.rows,
        format_,
        loaded.class_names,
        top_k=top_k,
        progress=console if output else SILENT,
    )
    if isinstance(request, Augmented):
        console.note(f"{request.spec.name}: {request.cost.summary()}")
    ctx.exit(end_of_prediction(console, rows, skipped, output, rejecting.rejected if rejecting else None))


def _rejecting(model: AbstractModel, console: Console, options: Mapping[str, Any]) -> Rejecting | None:
    coverage = options["coverage"] or (COVERAGE if options["unknown"] else None)
    if coverage is None and options["threshold"] is None:
        return None

    from transfer_cli.inference.reject import Rejecting

    rejecting = Rejecting(model, coverage=coverage, threshold=options["threshold"])
    if rejecting.bar is not None:
        console.note(f"unknown below a bar: {rejecting.bar.summary()}")
    return rejecting


def _format_of(output: Path | None, console: Console) -> str:
    if output is None:
        return "jsonl" if console.json else "csv"
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise click.UsageError(f"{output} does not say its format. Expected .csv, .jsonl or .parquet, or --format.")
    return suffix


def _ahead(files: Iterator[str], count: int) -> tuple[int, Iterator[str]]:
    """Return how many of the next `count` files there are, and all files; a pipe may still be waited for: count 0."""
    first = list(islice(files, count))
    return len(first), chain(first, files)


def _typed(paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer if line.strip())
        else:
            yield path
