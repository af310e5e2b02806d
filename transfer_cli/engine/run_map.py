"""The map of a run: all its pictures by their features, those that are alike side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.engine import features
from transfer_cli.engine.embedding import layout
from transfer_cli.engine.grid import on_grid
from transfer_cli.engine.images import batches
from transfer_cli.engine.map_drawing import Tile, draw_map, side_of
from transfer_cli.engine.signed import MAP, save_signed
from transfer_cli.errors import RunError
from transfer_cli.finished import FinishedRun
from transfer_cli.manifest import SEPARATOR
from transfer_cli.progress import SILENT, Progress
from transfer_cli.tables import read_table, write_table

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

    pictures: int
    drawn: int
    scored: int
    mistakes: int


def read_features(run: FinishedRun) -> NDArray[np.float32]:
    """Return the features of a run in the order of its split; raise RunError where it has none."""
    path = run.directory.features
    if not path.is_file():
        raise RunError(
            f"The run {run.directory.path} has no {path.name}: it is older than that, or the file was removed.",
            hint=f"The command in {run.directory.command} makes it with --overwrite; the test pictures stay the same.",
        )
    rows = features.read(path)
    if len(rows) != len(run.split.rows):
        raise RunError(f"{path} has {len(rows)} pictures and {run.directory.split} {len(run.split.rows)}.")
    return rows


def map_run(run: FinishedRun, target: Path, *, progress: Progress = SILENT) -> Mapped:
    """Write map.csv into a run, and its drawing to `target`.

    Parameters
    ----------
    run : FinishedRun
    target : Path
        A PNG file.
    progress : Progress

    Raises
    ------
    RunError
        When the run has no features.
    """
    matrix, rows = read_features(run), run.split.rows
    with progress.track(f"laying out {len(rows)} pictures", None):
        places = layout(matrix, int(run.recipe.get("seed", 0)), progress)
    said = _said(run)
    table = zip(rows, places, strict=True)
    write_table(
        run.directory.map,
        HEADER,
        ((row.path, f"{x:.4f}", f"{y:.4f}", row.truth, row.part, said.get(row.path, "")) for row, (x, y) in table),
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
    drawn = "" if mapped.drawn == mapped.pictures else f", {mapped.drawn} of them drawn"
    wrong = f", {mapped.mistakes} of {mapped.scored} taken for what they are not" if mapped.scored else ""
    name = run.directory.path.resolve().name
    backbone = run.recipe.get("backbone", {}).get("name", "the network")
    return (
        f"{name}: {mapped.pictures} pictures of {len(run.split.class_names)} classes{drawn}{wrong}",
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
        progress.warn(f"{changed} pictures in {run.root} are others than those that this run learnt from")
    return thumbnails
