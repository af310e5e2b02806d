"""``transfer-cli similar``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import cache_of, cache_option, runtime_option
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED, InputError
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.text import counted, printable

if TYPE_CHECKING:
    from transfer_cli.features.nearest import Neighbour
    from transfer_cli.features.similar import Alike

_HEADER = ("path", "rank", "neighbour", "class", "cosine", "part")
_FORMATS = ("csv", "jsonl", "table")


@click.command("similar")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PICTURES...")
@click.option(
    "-k", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many for each picture."
)
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    default="train",
    show_default=True,
    help="Which pictures of the run to look in.",
)
@click.option("--sheet", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw them, too, side by side.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write, .csv or .jsonl.  [stdout]")
@runtime_option
@cache_option
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path,
    paths: tuple[str, ...],
    count: int,
    part: str,
    sheet: Path | None,
    output: Path | None,
    strict: bool,
    **options: Any,
) -> None:
    """Find the pictures of RUN that are most like PICTURES, as its network sees them.

    PICTURES are files and folders. Each has COUNT rows, nearest first: a picture of the run, its class, its part, and
    the cosine of the angle between the features of both (1: the same). Paths of the run are relative to its folder; a
    picture that is in the run itself is not its own neighbour.

    \b
    Example:
        transfer-cli similar runs/first new.jpg
        transfer-cli similar runs/first new_photos -k 8 --sheet similar.png -o similar.csv
    """
    from transfer_cli.features.similar import Pictures, similar
    from transfer_cli.io.atomic import must_be_writable, written_whole
    from transfer_cli.io.discovery import at_least_one, walk_paths
    from transfer_cli.rendering.png_provenance import SIMILAR, must_be_replaceable
    from transfer_cli.runs.completed_run import FinishedRun

    console = ctx.ensure_object(Console)
    format_ = _format_of(output, console)
    if sheet and sheet.suffix.lower() != ".png":
        raise click.UsageError(f"{sheet} is no PNG. Expected a name that ends in .png.", ctx)
    finished = FinishedRun.read(run)
    gallery = Pictures(finished, part)
    if output:
        must_be_writable(output)
    if sheet:
        must_be_replaceable(sheet, SIMILAR)
    files = at_least_one(walk_paths(paths))

    from transfer_cli.inference.load import load

    with console.track("loading the model", None):
        model = load(
            str(run),
            runtime=options["runtime"] or AUTO,
            offline=console.offline,
            cache=cache_of(options),
            progress=console,
        )
    drawn: list[tuple[str, Sequence[Neighbour]]] = []
    skipped: list[Skipped] = []
    found = _seen(similar(model, gallery, files, count, strict=strict), skipped, drawn if sheet else None)
    if output:
        with written_whole(output) as draft, draft.open("wb") as file:
            rows = _write(found, file, format_)
    else:
        rows = _write(found, console.rows, format_)
    if sheet:
        from transfer_cli.features.contact_sheet import ROWS, contact_sheet

        if missing := contact_sheet(drawn, finished.root, finished.split.class_names, sheet):
            console.warn(
                f"not to be read in {finished.root} any more, and grey on {sheet}: {counted(missing, 'picture')}"
            )
        if len(drawn) > ROWS:
            console.warn(f"{sheet} has the first {ROWS} of {len(drawn)} pictures")
    for item in skipped:
        console.warn(f"skipped {item.path}: {item.reason}")
    looked_in = counted(len(gallery.rows), "picture")
    console.note(f"{counted(rows, 'picture')}, {len(skipped)} skipped; looked in {looked_in} ({part})")
    if sheet:
        console.note(f"drawn: {sheet}")
    if output:
        console.result(str(output), {"output": str(output), "images": rows, "skipped": len(skipped)})
    ctx.exit(DONE_WITH_SKIPPED if skipped else DONE)


def _format_of(output: Path | None, console: Console) -> str:
    if output is None:
        return "jsonl" if console.json else "table" if sys.stdout.isatty() else "csv"
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in _FORMATS[:2]:
        raise click.UsageError(f"{output} does not say its format. Expected .csv or .jsonl.")
    return suffix


def _seen(
    found: Iterable[Alike], skipped: list[Skipped], drawn: list[tuple[str, Sequence[Neighbour]]] | None
) -> Iterator[tuple[str, Sequence[Neighbour]]]:
    """Yield each picture with its neighbours; note what was skipped, and what is to be drawn."""
    nothing = True
    for batch in found:
        skipped += batch.skipped
        for pair in zip(batch.paths, batch.neighbours, strict=True):
            nothing = False
            if drawn is not None:
                drawn.append(pair)
            yield pair
    if nothing:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        raise InputError(f"None of the {len(skipped)} files could be read.{reasons}")


def _write(found: Iterable[tuple[str, Sequence[Neighbour]]], target: IO[bytes], format_: str) -> int:
    """Write rows as they come; return for how many pictures."""
    count = 0
    for path, neighbours in found:
        if format_ == "csv" and not count:
            target.write(csv_bytes([_HEADER]))
        target.write(_WRITERS[format_](path, [_cells(rank, near) for rank, near in enumerate(neighbours, start=1)]))
        target.flush()
        count += 1
    return count


def _cells(rank: int, near: Neighbour) -> tuple[int, str, str, str, str]:
    return rank, near.row.path, near.row.truth, f"{near.cosine:.6f}", near.row.part


def _csv(path: str, rows: Sequence[Sequence[Any]]) -> bytes:
    return csv_bytes([(path, *row) for row in rows])


def _jsonl(path: str, rows: Sequence[Sequence[Any]]) -> bytes:
    lines = []
    for rank, neighbour, label, cosine, part in rows:
        values = (path, rank, neighbour, label, float(cosine), part)
        lines.append(json.dumps(dict(zip(_HEADER, values, strict=True)), ensure_ascii=False) + "\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def _table(path: str, rows: Sequence[Sequence[Any]]) -> bytes:
    wide = max((len(printable(row[2])) for row in rows), default=0)
    lines = [printable(path).replace("\n", "\\n")]
    for rank, neighbour, label, cosine, part in rows:
        lines.append(f"{rank:4}  {float(cosine):.3f}  {printable(label):{wide}}  {part:5}  {printable(neighbour)}")
    return ("\n".join(line.replace("\n", "\\n") for line in lines) + "\n").encode()


_WRITERS: dict[str, Callable[[str, Sequence[Sequence[Any]]], bytes]] = {"csv": _csv, "jsonl": _jsonl, "table": _table}
