"""``transfer-cli predict``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.calibration.rejection import COVERAGE
from transfer_cli.catalog import tta
from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._image_paths import STDIN, named_paths, path_groups
from transfer_cli.cli._missing_argument import answer_to_missing
from transfer_cli.cli._options import (
    cache_option,
    for_excel_option,
    loading,
    output_option,
    runtime_option,
    strict_option,
    tta_option,
)
from transfer_cli.cli._predictor import Predictor
from transfer_cli.cli._summaries import end_of_prediction, note_left_out
from transfer_cli.cli._types import PATH, Share
from transfer_cli.cli._watching import check_watching, watch_folder
from transfer_cli.data.predictions import EXCEL_CSV, FORMATS, WORKBOOK

if TYPE_CHECKING:
    from transfer_cli.inference.models import AbstractModel
    from transfer_cli.rendering.prediction_sheet import PredictionSheet

_FORMATS = (*FORMATS, WORKBOOK)
_PATHS = "Expected images, folders, lists of images, or - for stdin."
_BINARY = {"parquet": "Parquet", WORKBOOK: "An Excel workbook"}


@click.command("predict", short_help="Classify new images with a trained model.")
@click.argument("model", metavar="RUN|BUNDLE|FILE|imagenet:BACKBONE", shell_complete=complete_models)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="PATHS...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    help="Output format.  [by the suffix of --output; without it a table on a terminal, else csv]",
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
@click.option(
    "--only",
    multiple=True,
    metavar="NAMES",
    help="Predict these classes only; comma-separated. Their probabilities are scaled to a sum of 1.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="NAMES",
    help="Leave these classes out, such as species that cannot be there; comma-separated. The probabilities of the "
    "others are scaled to a sum of 1.",
)
@tta_option
@output_option("FILE", "File to write: .csv, .jsonl, .parquet or .xlsx.  [stdout]")
@for_excel_option
@click.option(
    "--counts",
    type=PATH,
    metavar="FILE",
    help="Also write how many images of each folder got each label: species per camera, for example.",
)
@click.option(
    "--sheet",
    type=PATH,
    metavar="FILE",
    help="Also draw the images with bars of the three most probable classes, and the true label if a folder or table "
    "tells it (PNG, up to 120 images).",
)
@click.option(
    "--watch",
    type=PATH,
    metavar="DIR",
    help="Watch a folder that fills: predict each new image once, until Ctrl-C. Needs -o FILE.csv or FILE.jsonl.",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True, metavar="N", help="Images per batch."
)
@runtime_option
@cache_option
@strict_option
@pass_console
def command(console: Console, /, model: str, paths: tuple[str, ...], output: Path | None, **options: Any) -> int:
    """Classify new images with a trained model; one output row per image (CSV, JSON Lines, Parquet, Excel, table).

    The model is a run (the folder that extract, finetune, ensemble or auto wrote), the model folder in it (BUNDLE), a
    packed bundle (.zip), a file written by export (FILE: .onnx, .tflite, .xml or .keras), or imagenet:BACKBONE (a
    pretrained network with its 1000 ImageNet classes). PATHS are images, folders of images, files that list images
    (.csv, .txt or .json), or - to read paths from stdin, one per line, each answered when the input pauses. Unreadable
    images are listed on stderr, with exit code 5. With --unknown, the label is `unknown` if the confidence is low or
    the image is unlike the training images; the columns guess and reason have the model's guess and the reason for
    rejecting it. Some images of other things still get a label. An interrupted command with -o continues when it is run
    again.

    \b
    Example:
        transfer-cli predict runs/first sample_data/patterns -o predictions.csv
        transfer-cli predict runs/first trap/ --unknown --exclude wolf --format table
        transfer-cli predict runs/first trap/ --for-excel -o predictions.csv --counts counts.csv
        transfer-cli predict runs/first sample_data/patterns -o predictions.csv --sheet sheet.png
        transfer-cli predict imagenet:mobilenet_v2 holiday.jpg --tta ten-crop
        find photos -name '*.jpg' | transfer-cli predict runs/first -
        transfer-cli predict runs/first --watch trap/ -o predictions.csv
    """
    from transfer_cli.data.earlier_predictions import check_replaceable
    from transfer_cli.data.label_counts import LabelCounts
    from transfer_cli.io.atomic import check_writable

    # Report a mistyped name before anything is loaded.
    if options["tta"] is not None:
        tta.find(options["tta"])
    format_ = _format_of(output, console, options)
    folder: Path | None = options["watch"]
    _check_options(paths, folder, format_, options)
    if folder:
        check_watching(folder, output, format_, strict=options["strict"])
    if output and not (folder and output.is_file()):
        check_writable(output)
        check_replaceable(output)
    elif not output and format_ in _BINARY and sys.stdout.isatty():
        raise click.UsageError(f"{_BINARY[format_]} is a binary format and cannot be shown on a terminal. Add -o FILE.")
    counts = LabelCounts(options["counts"]) if options["counts"] else None
    if counts:
        counts.check_target(output)
    if options["sheet"]:
        from transfer_cli.rendering.prediction_sheet import check_sheet_target

        check_sheet_target(options["sheet"], output, paths)
    left_out: Counter[str] = Counter()
    labels: dict[str, tuple[str, ...]] = {}
    files, ahead = _files(console, paths, left_out, labels, whole=output is not None)

    from transfer_cli.inference.load import load

    with console.track("loading the model", None):
        loaded = load(model, images=ahead, **loading(console, options))
    sheet = _sheet(options["sheet"], model, loaded, labels) if options["sheet"] else None
    predictor = Predictor.build(console, loaded, options, counts, sheet)
    if folder and output:
        watch_folder(console, folder, output, (format_, options["top_k"]), predictor)
    if output:
        written = predictor.write_file(console, model, [*chain.from_iterable(files)], output, format_)
    else:
        in_place = STDIN in paths
        total = None if in_place else ahead
        written = predictor.write_stdout(console, files, format_, in_place=in_place, total=total)
    if counts:
        console.note(f"images per folder and label: {counts.target}")
    predictor.write_sheet(console)
    predictor.note_cost(console)
    note_left_out(console, left_out)
    unknown = written.unknown if predictor.rejector else None
    return end_of_prediction(console, written.rows, written.skipped, output, unknown, predictor.model.left_out)


def _format_of(output: Path | None, console: Console, options: Mapping[str, Any]) -> str:
    format_: str | None = options["format_"]
    if format_ is None and output is not None:
        format_ = output.suffix.lower().lstrip(".")
        if format_ not in _FORMATS:
            expected = "a name that ends in .csv, .jsonl, .parquet or .xlsx, or add --format"
            raise click.UsageError(f"Unknown format: {output}. Expected {expected}.")
    if options["for_excel"]:
        if format_ not in ("csv", WORKBOOK, None):
            raise click.UsageError(f"--for-excel writes CSV. Received the format {format_}. Remove one of them.")
        return format_ if format_ == WORKBOOK else EXCEL_CSV
    return format_ or ("jsonl" if console.json else "table" if sys.stdout.isatty() else "csv")


def _check_options(paths: tuple[str, ...], folder: Path | None, format_: str, options: Mapping[str, Any]) -> None:
    """Raise a usage error now if options contradict each other."""
    from transfer_cli.io.workbook import check_installed

    if not paths and folder is None:
        answer = answer_to_missing(click.get_current_context()) or _PATHS
        raise click.UsageError(f"Missing argument 'PATHS...'. {answer}")
    if paths and folder is not None:
        raise click.UsageError(f"Give images or --watch {folder}, not both: --watch predicts what is in the folder.")
    if folder and options["counts"]:
        raise click.UsageError("--counts needs all images at once. Remove it, or predict the folder without --watch.")
    if folder and options["sheet"]:
        raise click.UsageError("--sheet needs all images at once. Remove it, or predict the folder without --watch.")
    if any(options["only"]) and any(options["exclude"]):
        raise click.UsageError("Give --only or --exclude, not both: each says which classes are left.")
    if format_ == WORKBOOK and not folder:
        check_installed()


def _sheet(target: Path, source: str, model: AbstractModel, labels: Mapping[str, tuple[str, ...]]) -> PredictionSheet:
    from transfer_cli.data.true_labels import TrueLabels
    from transfer_cli.rendering.prediction_sheet import PredictionSheet
    from transfer_cli.runs.selection_tables import class_map_of_model

    true_labels = TrueLabels(model.class_names, class_map_of_model(source), labels)
    return PredictionSheet(target, true_labels, model.views[0].bit_depth)


def _files(
    console: Console,
    paths: tuple[str, ...],
    left_out: Counter[str],
    labels: dict[str, tuple[str, ...]],
    *,
    whole: bool,
) -> tuple[Iterable[Iterable[str]], int]:
    """Return the image files in groups to be answered together, and how many are known to come.

    `labels` gets the true labels that tables tell; `whole`: one group.
    """
    from transfer_cli.io.discovery import expand_paths, require_paths

    if not paths:
        return (), 0
    named = named_paths(console, paths, labels)
    groups = (expand_paths(group, left_out) for group in path_groups(console, named))
    if STDIN in paths and not whole:
        return groups, 0
    files = require_paths(chain.from_iterable(groups), left_out)
    known = [*files]
    return [known], len(known)
