"""The map of a run: all its images placed by t-SNE of their features, as a drawing and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.csv_manifest import SEPARATOR, SPLIT_COLUMN
from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.predictions import TRUE_LABEL
from transfer_cli.data.views import View
from transfer_cli.errors import OutputError
from transfer_cli.features.feature_map_drawing import Tile, draw_map, thumbnail_side
from transfer_cli.features.grid_assignment import assign_to_grid
from transfer_cli.features.table import features_of_run
from transfer_cli.features.tsne import layout, perplexity_of
from transfer_cli.io.atomic import check_writable
from transfer_cli.io.csv_tables import csv_bytes, read_table, write_table
from transfer_cli.progress import Progress
from transfer_cli.rendering.fonts import missing_letters_warning
from transfer_cli.rendering.png_provenance import MAP, save_signed
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.text import counted

HEADER = ("path", "x", "y", TRUE_LABEL, SPLIT_COLUMN, "label")
UNLABELLED_HEADER = HEADER[:3]
_MISSING_GREY = 214


@dataclass(frozen=True)
class MapSummary:
    """What a map shows.

    Attributes
    ----------
    images, drawn : int
        Number of images, and of those that are drawn as thumbnails.
    scored, mistakes : int
        Number of images with a prediction, and of wrong predictions.
    perplexity : float
        Of t-SNE.
    """

    images: int
    drawn: int
    scored: int
    mistakes: int
    perplexity: float


def check_map_table(table: Path) -> None:
    """Raise OutputError if the table of a map cannot be written, or would replace another file."""
    headers = tuple(csv_bytes([header]) for header in (HEADER, UNLABELLED_HEADER))
    if table.is_file() and not table.read_bytes().startswith(headers):
        raise OutputError(
            f"{table} already exists and is not the table of a map.",
            hint="Choose another name with -o FILE.png: the table is written next to it.",
        )
    check_writable(table)


def draw_run_map(
    run: FinishedRun, target: Path, table: Path, *, progress: Progress, perplexity: float | None = None
) -> MapSummary:
    """Draw the map of a run to the PNG file `target`, and write the position of each image to a table.

    Parameters
    ----------
    run : FinishedRun
    target : Path
    table : Path
    progress : Progress
    perplexity : float, optional
        Of t-SNE: about the number of neighbours that each image is kept near.

    Raises
    ------
    RunError
        If the run has no features.
    InputError
        If the perplexity is too large for the number of images.
    """
    features, rows = features_of_run(run), run.split.rows
    used = perplexity_of(len(rows), perplexity)
    positions = layout(features, int(run.recipe.get("seed", 0)), progress, used)
    predictions = _predictions(run)
    header = HEADER if run.split.is_labelled else UNLABELLED_HEADER
    cells = (
        (row.path, f"{x:.4f}", f"{y:.4f}", row.truth, row.part, predictions.get(row.path, ""))[: len(header)]
        for row, (x, y) in zip(rows, positions, strict=True)
    )
    write_table(table, header, cells)
    names = run.split.class_names
    tiles = [tile_of(row.labels, predictions.get(row.path), names) for row in rows]
    wrong = np.array([tile.predicted is not None for tile in tiles], bool)
    with progress.track("drawing the map", None):
        grid = assign_to_grid(positions, wrong)
        summary = MapSummary(len(rows), len(grid.members), len(predictions), int(wrong.sum()), used)
        if summary.drawn < summary.images:
            progress.note(
                f"the drawing has room for {summary.drawn} of {counted(summary.images, 'image')}: in crowded places it "
                "shows wrong predictions first, then the most central images; the table lists all images"
            )
        thumbnails = _thumbnails(run, grid.members, thumbnail_side(grid), progress)
        shown = [tiles[member] for member in grid.members]
        heading = _heading(run, summary)
        save_signed(draw_map(grid, shown, thumbnails, names, heading), target, MAP)
    for line in missing_letters_warning([*names, run.directory.path.resolve().name]):
        progress.warn(line)
    return summary


def tile_of(labels: Sequence[str], prediction: str | None, names: Sequence[str]) -> Tile:
    """Return the colours of an image from its true labels and its prediction, as written in a table."""
    column_of = {name: column for column, name in enumerate(names)}
    column = min((column_of[label] for label in labels), default=-1)
    if prediction is None:
        return Tile(column)
    predicted = {prediction} if prediction in column_of else set(filter(None, prediction.split(SEPARATOR)))
    if predicted == set(labels):
        return Tile(column)
    # Multi-label: the first wrong label, or none if labels are only missing.
    return Tile(column, min((column_of.get(label, -1) for label in predicted - set(labels)), default=-1))


def _heading(run: FinishedRun, summary: MapSummary) -> tuple[str, str]:
    shown = "" if summary.drawn == summary.images else f" ({summary.drawn} drawn)"
    wrong = f", {summary.mistakes} of {counted(summary.scored, 'prediction')} wrong" if summary.scored else ""
    name = run.directory.path.resolve().name
    backbone = run.recipe.get("backbone", {}).get("name", "the network")
    classes = f" of {counted(len(run.split.class_names), 'class')}" if run.split.is_labelled else ""
    return (
        f"{name}: {counted(summary.images, 'image')}{shown}{classes}{wrong}",
        f"t-SNE of the features by {backbone}, perplexity {summary.perplexity:.3g}: similar images are close; "
        "distances between clusters mean little",
    )


def _predictions(run: FinishedRun) -> dict[str, str]:
    """Return the predicted label, or labels, of each image that the run was scored on."""
    tables = (read_table(run.directory.predictions(part), ("path",)) for part in run.parts)
    return {row["path"]: row["labels"] if "labels" in row else row["label"] for table in tables for row in table}


def _thumbnails(run: FinishedRun, members: NDArray[np.int64], side: int, progress: Progress) -> NDArray[np.uint8]:
    """Return square thumbnails of some rows of the split, grey if an image cannot be read."""
    rows = [run.split.rows[member] for member in members]
    thumbnails = np.full((len(rows), side, side, 3), _MISSING_GREY, np.uint8)
    changed, unread = 0, 0
    view = View(side, "crop", run.bit_depth)
    with progress.track("reading images for the map", len(rows)) as advance:
        for batch in view_batches([row.path for row in rows], [view], batch_size=64, root=run.root):
            for index, digest, image in zip(batch.indices, batch.digests, batch.images, strict=True):
                thumbnails[index] = image
                changed += digest != rows[index].sha256
            unread += len(batch.skipped)
            advance(len(batch.indices) + len(batch.skipped))
    if unread:
        progress.warn(f"{unread} of {counted(len(rows), 'image')} can no longer be read in {run.root}: drawn grey")
    if changed:
        progress.warn(f"{counted(changed, 'image')} in {run.root} changed since the run was trained")
    return thumbnails
