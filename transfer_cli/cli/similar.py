"""``transfer-cli similar``."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console, table_text, terminal_width
from transfer_cli.cli._options import (
    cache_option,
    check_suffix,
    for_excel_option,
    images_option,
    loading,
    network_options,
    output_option,
    runtime_option,
    strict_option,
)
from transfer_cli.cli._similar_pairs import check_options, compare
from transfer_cli.cli._summaries import note_left_out, warn_skipped
from transfer_cli.cli._types import PATH
from transfer_cli.data.csv_manifest import SPLIT_COLUMN
from transfer_cli.data.predictions import EXCEL_CSV, TRUE_LABEL
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED, InputError, MissingModelError
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.io.excel_csv import ExcelCsv
from transfer_cli.text import counted, valid_json

if TYPE_CHECKING:
    from transfer_cli.features.feature_network import FeatureNetwork
    from transfer_cli.features.nearest import Neighbour
    from transfer_cli.features.similar import SimilarImages
    from transfer_cli.inference.models import AbstractModel
    from transfer_cli.runs.completed_run import FinishedRun

_HEADER = ("path", "rank", "neighbour", TRUE_LABEL, "cosine", SPLIT_COLUMN)
_UNLABELLED_HEADER = ("path", "rank", "neighbour", "cosine")
_FILE_FORMATS = ("csv", "jsonl")


@click.command("similar", short_help="Find the training images most similar to given images.")
@click.argument("run", metavar="[RUN]", type=PATH, shell_complete=complete_models)
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="IMAGES...")
@click.option(
    "-k",
    "count",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of similar images per image.",
)
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    default="train",
    show_default=True,
    help="Split of the run to search in.",
)
@click.option("--sheet", type=PATH, metavar="FILE.png", help="Also save a contact sheet (PNG).")
@output_option("FILE", "File to write, .csv or .jsonl.  [stdout]")
@for_excel_option
@images_option
@runtime_option
@network_options
@cache_option
@strict_option
@pass_console
def command(
    console: Console, /, run: Path, paths: tuple[str, ...], sheet: Path | None, output: Path | None, **options: Any
) -> int:
    """Find the training images most similar to given images (nearest neighbours).

    RUN is the folder that a training command wrote; IMAGES are files and folders. For each image there are N rows, the
    most similar first: an image of the run, its class, its split, and the cosine similarity of the features of the two
    images (1: identical). Paths of the run are relative to its image folder. If an image is itself in the run, it is
    not listed as its own neighbour. Images without labels have neither class nor split, and all are searched.

    With --backbone no RUN is needed: how alike two or more images are (each pair), or images and those of a folder (the
    N most similar ones). The percentile says how many of the other pairs are less alike, if there are 20 images.

    \b
    Example:
        transfer-cli similar a.jpg b.jpg --backbone mobilenet_v2
        transfer-cli similar runs/first new.jpg
        transfer-cli similar runs/first new_photos -k 8 --sheet similar.png -o similar.csv
    """
    check_options({**options, "sheet": sheet})
    if options["backbone"] is not None:
        return compare(console, (str(run), *paths), output, options)

    from transfer_cli.features.similar import SearchImages, similar
    from transfer_cli.io.discovery import expand_paths, require_paths
    from transfer_cli.runs.completed_run import FinishedRun

    if run.is_file():
        raise MissingModelError(
            f"{run} is a file. Expected the folder that a training command wrote.",
            hint="To compare images without a run: add --backbone mobilenet_v2",
        )
    format_ = _format_of(output, console, for_excel=options["for_excel"])
    finished = FinishedRun.read(run, options["images"])
    gallery = SearchImages.of_run(finished, options["part"])
    _check_targets(output, sheet)
    left_out: Counter[str] = Counter()
    files = [*require_paths(expand_paths(paths, left_out), left_out)]

    model = _load(console, finished, options)
    batches = similar(model, gallery, files, options["count"], strict=options["strict"])
    header = _HEADER if finished.split.is_labelled else _UNLABELLED_HEADER
    matches = _Matches(batches, header, draws=sheet is not None)
    lines = _formatted(matches, format_, terminal_width() if output is None else None)
    with console.track("searching similar images", len(files)) as matches.advance:
        # Rows on a terminal and the progress bar would overwrite each other.
        later = [*lines] if output is None and sys.stdout.isatty() else []
        _write(lines, output, console)
    _write(later, None, console)
    if sheet:
        _draw(console, matches, finished, sheet)
    note_left_out(console, left_out)
    warn_skipped(console, matches.skipped)
    part = f" ({options['part']})" if finished.split.is_labelled else ""
    searched = f"{counted(len(gallery.rows), 'image')}{part}"
    console.note(f"{counted(matches.images, 'image')}, {len(matches.skipped)} skipped; searched {searched}")
    if output:
        console.output(output, images=matches.images, skipped=len(matches.skipped))
    return DONE_WITH_SKIPPED if matches.skipped else DONE


def _load(console: Console, run: FinishedRun, options: dict[str, Any]) -> AbstractModel | FeatureNetwork:
    """Return the model of a run; of a run without a classifier its network."""
    from transfer_cli.bundle.features_only import is_features_only

    arguments = loading(console, options)
    if is_features_only(run.directory.path):
        from transfer_cli.features.feature_network import FeatureNetwork

        return FeatureNetwork.of_run(run, **arguments)
    from transfer_cli.inference.load import load

    with console.track("loading the model", None):
        return load(str(run.directory.path), **arguments)


def _format_of(output: Path | None, console: Console, *, for_excel: bool) -> str:
    if for_excel:
        check_suffix(output or Path("stdout.csv"), ".csv")
        return EXCEL_CSV
    if output is None:
        return "jsonl" if console.json else "table" if sys.stdout.isatty() else "csv"
    check_suffix(output, *(f".{name}" for name in _FILE_FORMATS))
    return output.suffix.lower().lstrip(".")


def _check_targets(output: Path | None, sheet: Path | None) -> None:
    from transfer_cli.io.atomic import check_writable
    from transfer_cli.rendering.png_provenance import SIMILAR, check_png_target

    if output:
        check_writable(output)
    if sheet:
        check_suffix(sheet, ".png")
        check_png_target(sheet, SIMILAR)


@dataclass
class _Matches:
    """The rows of each image; counts images, collects skipped files and, if `draws`, what a contact sheet shows."""

    batches: Iterable[SimilarImages]
    header: Sequence[str]
    draws: bool
    advance: Callable[[int], None] = lambda count: None
    images: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    drawn: list[tuple[str, Sequence[Neighbour]]] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        for batch in self.batches:
            self.skipped += batch.skipped
            self.images += len(batch.paths)
            self.drawn += zip(batch.paths, batch.neighbours, strict=True) if self.draws else ()
            for path, neighbours in zip(batch.paths, batch.neighbours, strict=True):
                yield [self._row(path, rank, near) for rank, near in enumerate(neighbours, start=1)]
            self.advance(len(batch.paths) + len(batch.skipped))
        if not self.images:
            reasons = "".join(f"\n  {item.path}: {item.reason}" for item in self.skipped[:20])
            raise InputError(f"No image could be read.{reasons}")

    def _row(self, path: str, rank: int, near: Neighbour) -> tuple[Any, ...]:
        row = near.row
        values = dict(zip(_HEADER, (path, rank, row.path, row.truth, f"{near.cosine:.6f}", row.part), strict=True))
        return tuple(values[name] for name in self.header)


def _formatted(matches: _Matches, format_: str, width: int | None) -> Iterator[bytes]:
    """Yield the bytes of a table: all at once for a terminal, else image by image."""
    if format_ == "table":
        cells = [[str(cell) for cell in row] for rows in matches for row in rows]
        yield f"{table_text(matches.header, cells, numeric=('rank', 'cosine'), width=width)}\n".encode()
        return
    if format_ == EXCEL_CSV:
        yield from _excel_csv(matches)
        return
    for number, rows in enumerate(matches):
        if format_ == "csv":
            yield csv_bytes([*([] if number else [matches.header]), *rows])
        else:
            values = [_with_number(dict(zip(matches.header, row, strict=True))) for row in rows]
            text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
            yield valid_json(text).encode()


def _with_number(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "cosine": float(row["cosine"])}


def _excel_csv(matches: _Matches) -> Iterator[bytes]:
    buffer = io.BytesIO()
    sheet = ExcelCsv(buffer)
    sheet.append(matches.header)
    for rows in matches:
        for row in rows:
            sheet.append([*_with_number(dict(zip(matches.header, row, strict=True))).values()])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _write(lines: Iterable[bytes], output: Path | None, console: Console) -> None:
    from transfer_cli.io.atomic import atomic_write

    if output is None:
        for line in lines:
            console.rows.write(line)
            console.rows.flush()
    else:
        with atomic_write(output) as draft, draft.open("wb") as file:
            file.writelines(lines)


def _draw(console: Console, matches: _Matches, finished: FinishedRun, sheet: Path) -> None:
    from transfer_cli.features.contact_sheet import MAX_ROWS, contact_sheet
    from transfer_cli.rendering.fonts import missing_letters_warning

    names = finished.split.class_names
    if missing := contact_sheet(matches.drawn, finished.root, names, sheet, finished.bit_depth):
        console.warn(f"{counted(missing, 'image')} could not be read in {finished.root}: grey in {sheet}")
    if len(matches.drawn) > MAX_ROWS:
        console.warn(f"{sheet} shows the first {MAX_ROWS} of {len(matches.drawn)} images")
    drawn = [Path(path).name for path, _ in matches.drawn[:MAX_ROWS]]
    console.warn(*missing_letters_warning([*finished.split.class_names, *drawn]))
    console.note(f"contact sheet: {sheet}")
