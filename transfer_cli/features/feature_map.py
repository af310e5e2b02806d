"""The map of a run: all its pictures by their features, those that are alike side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.decoding import batches
from transfer_cli.errors import OutputError
from transfer_cli.features import table as features
from transfer_cli.features.feature_map_drawing import Tile, draw_map, side_of
from transfer_cli.features.grid_assignment import on_grid
from transfer_cli.features.tsne import layout
from transfer_cli.io.atomic import must_be_writable
from transfer_cli.io.csv_tables import csv_bytes, read_table, write_table
from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering.png_provenance import MAP, save_signed
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.text import counted

HEADER = ("path", "x", "y", "class", "part", "label")
_UNREAD = 214


@dataclass(frozen=True)
class Mapped:
    """What a map shows.

    Attributes
    ----------
    pictures, drawn : int
        How many there are, and how many of them have a thumbnail.
    scored, mistakes : int
        Of how many it is known what they were taken for, and how many of these were taken for what they are not.
    """

    images: int
    drawn: int
    scored: int
    mistakes: int


def must_be_a_map(table: Path) -> None:
    """Raise OutputError unless a table of a map can be written there and nothing of a person's would be lost."""
    if table.is_file() and not table.read_bytes().startswith(csv_bytes([HEADER])):
        raise OutputError(
            f"{table} is there already, is no table of a map, and would be lost.",
            hint="Choose another name with -o FILE.png: the table lies beside it.",
        )
    must_be_writable(table)


def map_run(run: FinishedRun, target: Path, table: Path | None = None, *, progress: Progress = SILENT) -> Mapped:
    """Draw a run to `target`, and write where each picture lies.

    Parameters
    ----------
    run : FinishedRun
    target : Path
        A PNG file.
    table : Path, optional
        ``map.csv`` in the run where it is not given.
    progress : Progress

    Raises
    ------
    RunError
        When the run has no features.
    """
    matrix, rows = features.of_run(run), run.split.rows
    with progress.track(f"laying out {len(rows)} pictures", None):
        places = layout(matrix, int(run.recipe.get("seed", 0)), progress)
    said = _said(run)
    of_each = zip(rows, places, strict=True)
    write_table(
        table or run.directory.map,
        HEADER,
        ((row.path, f"{x:.4f}", f"{y:.4f}", row.truth, row.part, said.get(row.path, "")) for row, (x, y) in of_each),
    )
    names = run.split.class_names
    tiles = [_tile(row.labels, said.get(row.path), names) for row in rows]
    wrong = np.array([tile.taken_for is not None for tile in tiles], bool)
    with progress.track("drawing the map", None):
        grid = on_grid(places, wrong)
        thumbnails = _thumbnails(run, grid.members, side_of(grid), progress)
        mapped = Mapped(len(rows), len(grid.members), len(said), int(wrong.sum()))
        drawing = draw_map(grid, [tiles[member] for member in grid.members], thumbnails, names, _heading(run, mapped))
        save_signed(drawing, target, MAP)
    return mapped


def _heading(run: FinishedRun, mapped: Mapped) -> tuple[str, str]:
    drawn = "" if mapped.drawn == mapped.images else f", {mapped.drawn} of them drawn"
    wrong = f", {mapped.mistakes} of {mapped.scored} taken for what they are not" if mapped.scored else ""
    name = run.directory.path.resolve().name
    backbone = run.recipe.get("backbone", {}).get("name", "the network")
    return (
        f"{name}: {mapped.images} pictures of {len(run.split.class_names)} classes{drawn}{wrong}",
        f"t-SNE of the features by {backbone}: what it finds alike is side by side; the way between groups says little",
    )


def _said(run: FinishedRun) -> dict[str, str]:
    """Return what the run says of each picture that it was scored on: a class, or labels."""
    said: dict[str, str] = {}
    for part in run.parts:
        for row in read_table(run.directory.predictions(part), ("path",)):
            said[row["path"]] = row["labels"] if "labels" in row else row["label"]
    return said


def _tile(labels: Sequence[str], said: str | None, names: Sequence[str]) -> Tile:
    column_of = {name: column for column, name in enumerate(names)}
    column = min((column_of[label] for label in labels), default=-1)
    given = None if said is None else {said} if said in column_of else set(filter(None, said.split(SEPARATOR)))
    if given is None or given == set(labels):
        return Tile(column)
    # Of several labels the first that is too many; none where some are missing only.
    return Tile(column, min((column_of.get(label, -1) for label in given - set(labels)), default=-1))


def _thumbnails(run: FinishedRun, members: NDArray[np.int64], side: int, progress: Progress) -> NDArray[np.uint8]:
    """Return the pictures of some rows as squares, grey where one cannot be read."""
    rows = [run.split.rows[member] for member in members]
    thumbnails = np.full((len(rows), side, side, 3), _UNREAD, np.uint8)
    changed, unread = 0, 0
    paths = [row.path for row in rows]
    for batch in batches(paths, size=side, resize="crop", batch_size=64, root=run.root):
        for index, digest, image in zip(batch.indices, batch.digests, batch.images, strict=True):
            thumbnails[index] = image
            changed += digest != rows[index].sha256
        unread += len(batch.skipped)
    if unread:
        progress.warn(f"{unread} of {len(rows)} pictures are not to be read in {run.root} any more: they are grey")
    if changed:
        progress.warn(f"{counted(changed, 'picture')} in {run.root}: not the same as when this run was made")
    return thumbnails
