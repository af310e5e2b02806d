"""``transfer-cli predict``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.calibration.rejection import COVERAGE
from transfer_cli.catalog import tta
from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import cache_option, loading, output_option, runtime_option, strict_option, tta_option
from transfer_cli.cli._summaries import end_of_prediction, note_left_out
from transfer_cli.cli._types import Share
from transfer_cli.data.predictions import FORMATS
from transfer_cli.progress import SILENT

if TYPE_CHECKING:
    from transfer_cli.inference.models import AbstractModel
    from transfer_cli.inference.reject import Rejector


@click.command("predict", short_help="Classify new images with a trained model.")
@click.argument("model", metavar="RUN|BUNDLE|FILE|imagenet:BACKBONE", shell_complete=complete_models)
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), help="Output format.  [by the suffix of --output, else csv]"
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    metavar="K",
    help="Write the K most likely classes instead of the probability of every class.",
)
@click.option(
    "--unknown",
    is_flag=True,
    help="Label an image `unknown` if the model is unsure or it looks unlike the training images "
    f"(= --coverage {COVERAGE}).",
)
@click.option(
    "--coverage",
    type=Share(above_zero=True),
    metavar="SHARE",
    help="Set the `unknown` threshold so that this share of the validation images still gets a label, 0 to 1.",
)
@click.option(
    "--threshold",
    type=Share(),
    metavar="P",
    help="Label an image `unknown` if its confidence is below this, 0 to 1.",
)
@tta_option
@output_option("FILE", "File to write.  [stdout]")
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, metavar="N", help="Images per batch."
)
@runtime_option
@cache_option
@strict_option
@pass_console
def command(console: Console, /, model: str, paths: tuple[str, ...], output: Path | None, **options: Any) -> int:
    """Classify new images with a trained model; one output row per image (CSV, JSON Lines, Parquet, table).

    The model is a run (the folder that extract, finetune, ensemble or auto wrote), the model folder in it (BUNDLE), a
    file written by export (FILE: .onnx, .tflite, .xml or .keras), or imagenet:BACKBONE (a pretrained network with its
    1000 ImageNet classes). PATHS are images, folders of images, or - to read paths from stdin, one per line. Unreadable
    images are listed on stderr, with exit code 5. With --unknown, the label is `unknown` if the confidence is low or
    the image is unlike the training images; the columns guess and reason have the model's guess and the reason for
    rejecting it. Some images of other things still get a label.

    \b
    Example:
        transfer-cli predict runs/first sample_data/patterns -o predictions.csv
        transfer-cli predict runs/first trap/ --unknown --format table
        transfer-cli predict imagenet:mobilenet_v2 holiday.jpg --format table
        transfer-cli predict runs/first holiday.jpg --tta ten-crop --format table
        find photos -name '*.jpg' | transfer-cli predict runs/first -
    """
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.io.discovery import expand_paths, require_paths

    # Report a mistyped name before anything is loaded.
    method = None if options["tta"] is None else tta.find(options["tta"])
    format_ = options["format_"] or _format_of(output, console)
    if output:
        check_writable(output)
    elif format_ == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is a binary format and cannot be shown on a terminal. Add -o FILE.")
    left_out: Counter[str] = Counter()
    files = require_paths(expand_paths(_expand_stdin(paths), left_out), left_out)
    known = None if "-" in paths else [*files]
    files = files if known is None else iter(known)

    from transfer_cli.inference.load import load
    from transfer_cli.inference.predict import predict, write_predictions
    from transfer_cli.inference.runtimes import MIN_IMAGES_TO_CONVERT
    from transfer_cli.inference.tta import AugmentedModel

    ahead, files = _ahead(files, MIN_IMAGES_TO_CONVERT if "-" not in paths else 0)
    with console.track("loading the model", None):
        loaded = load(model, images=ahead, **loading(console, options))
    classifier = loaded if method is None else AugmentedModel(loaded, method.name)
    rejector = _rejector(classifier, console, options)
    classifier = rejector.model if rejector else classifier
    settings = {name: options[name] for name in ("batch_size", "strict")}
    batches = predict(classifier, files, rejector=rejector, **settings)
    # Rows on a terminal and the progress bar would overwrite each other.
    shown = {"progress": SILENT if output is None and sys.stdout.isatty() else console, "total": known and len(known)}
    rows, skipped = write_predictions(
        batches, output or console.rows, format_, loaded.class_names, top_k=options["top_k"], **shown
    )
    if isinstance(classifier, AugmentedModel):
        console.note(f"{classifier.spec.name}: {classifier.cost.summary()}")
    note_left_out(console, left_out)
    return end_of_prediction(console, rows, skipped, output, rejector.rejected if rejector else None)


def _rejector(model: AbstractModel, console: Console, options: Mapping[str, Any]) -> Rejector | None:
    coverage = options["coverage"] or (COVERAGE if options["unknown"] else None)
    if coverage is None and options["threshold"] is None:
        return None

    from transfer_cli.inference.reject import Rejector

    rejector = Rejector(model, coverage=coverage, threshold=options["threshold"])
    if rejector.fitted_threshold is not None:
        console.note(f"`unknown` threshold: {rejector.fitted_threshold.summary()}")
    return rejector


def _format_of(output: Path | None, console: Console) -> str:
    if output is None:
        return "jsonl" if console.json else "csv"
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        expected = "a name that ends in .csv, .jsonl or .parquet, or add --format"
        raise click.UsageError(f"Unknown format: {output}. Expected {expected}.")
    return suffix


def _ahead(files: Iterator[str], count: int) -> tuple[int, Iterator[str]]:
    """Return how many of the next `count` files exist, and all files; with count 0 nothing is read from a pipe."""
    first = list(islice(files, count))
    return len(first), chain(first, files)


def _expand_stdin(paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer if line.strip())
        else:
            yield path
