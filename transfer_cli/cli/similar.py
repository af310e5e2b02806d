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
    output_option,
    runtime_option,
    strict_option,
)
from transfer_cli.cli._summaries import note_left_out, warn_skipped
from transfer_cli.cli._types import PATH
from transfer_cli.data.csv_manifest import SPLIT_COLUMN
from transfer_cli.data.predictions import EXCEL_CSV, TRUE_LABEL
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED, InputError
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.io.excel_csv import ExcelCsv
from transfer_cli.text import counted, valid_json

if TYPE_CHECKING:
    from transfer_cli.features.nearest import Neighbour
    from transfer_cli.features.similar import SimilarImages
    from transfer_cli.runs.completed_run import FinishedRun

_HEADER = ("path", "rank", "neighbour", TRUE_LABEL, "cosine", SPLIT_COLUMN)
_FILE_FORMATS = ("csv", "jsonl")


@click.command("similar", short_help="Find the training images most similar to given images.")
@click.argument("run", type=PATH, shell_complete=complete_models)
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
    not listed as its own neighbour.

    \b
    Example:
        transfer-cli similar runs/first new.jpg
        transfer-cli similar runs/first new_photos -k 8 --sheet similar.png -o similar.csv
    """
    from transfer_cli.features.similar import SearchImages, similar
    from transfer_cli.io.discovery import expand_paths, require_paths
    from transfer_cli.runs.completed_run import FinishedRun

    format_ = _format_of(output, console, for_excel=options["for_excel"])
    finished = FinishedRun.read(run, options["images"])
    gallery = SearchImages.of_run(finished, options["part"])
    _check_targets(output, sheet)
    left_out: Counter[str] = Counter()
    files = [*require_paths(expand_paths(paths, left_out), left_out)]

    from transfer_cli.inference.load import load

    with console.track("loading the model", None):
        model = load(str(run), **loading(console, options))
    batches = similar(model, gallery, files, options["count"], strict=options["strict"])
    matches = _Matches(batches, draws=sheet is not None)
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
    searched = f"{counted(len(gallery.rows), 'image')} ({options['part']})"
    console.note(f"{counted(matches.images, 'image')}, {len(matches.skipped)} skipped; searched {searched}")
    if output:
        console.output(output, images=matches.images, skipped=len(matches.skipped))
    return DONE_WITH_SKIPPED if matches.skipped else DONE


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
                yield [_row(path, rank, near) for rank, near in enumerate(neighbours, start=1)]
            self.advance(len(batch.paths) + len(batch.skipped))
        if not self.images:
            reasons = "".join(f"\n  {item.path}: {item.reason}" for item in self.skipped[:20])
            raise InputError(f"No image could be read.{reasons}")


def _row(path: str, rank: int, near: Neighbour) -> tuple[Any, ...]:
    return path, rank, near.row.path, near.row.truth, f"{near.cosine:.6f}", near.row.part


def _formatted(matches: Iterable[Sequence[tuple[Any, ...]]], format_: str, width: int | None) -> Iterator[bytes]:
    """Yield the bytes of a table: all at once for a terminal, else image by image."""
    if format_ == "table":
        cells = [[str(cell) for cell in row] for rows in matches for row in rows]
        yield f"{table_text(_HEADER, cells, numeric=('rank', 'cosine'), width=width)}\n".encode()
        return
    if format_ == EXCEL_CSV:
        yield from _excel_csv(matches)
        return
    for number, rows in enumerate(matches):
        if format_ == "csv":
            yield csv_bytes([*([] if number else [_HEADER]), *rows])
        else:
            values = [{**dict(zip(_HEADER, row, strict=True)), "cosine": float(row[4])} for row in rows]
            text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
            yield valid_json(text).encode()


def _excel_csv(matches: Iterable[Sequence[tuple[Any, ...]]]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    sheet = ExcelCsv(buffer)
    sheet.append(_HEADER)
    for rows in matches:
        for path, rank, neighbour, label, cosine, part in rows:
            sheet.append((path, rank, neighbour, label, float(cosine), part))
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
