"""What lies behind the numbers and points of a report: the pictures, and what was said of each, for its script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering.thumbnails import ThumbnailStore
from transfer_cli.report.confusion_cells import Cell
from transfer_cli.report.neighbourhood import AROUND, FeatureNeighbourhood
from transfer_cli.runs.completed_run import Answered, FinishedRun
from transfer_cli.text import printable

Table = list[list[Cell | None]]
Tables = Mapping[str, Table]
_TOP = 3
_MAP_WIDTH, _MAP_HEIGHT = 1000, 700


def in_order_of_weight(
    parts: Mapping[str, Answered], tables: Tables, worst: Mapping[str, NDArray[np.int64]]
) -> list[str]:
    """Return the pictures of the tables: the worst mistakes, then the other mistakes, then right answers."""
    paths = [parts[part].predictions.paths[row] for part, rows in worst.items() for row in rows]
    for right in (False, True):
        for part, table in tables.items():
            of = parts[part].predictions.paths
            shown = [cell.rows for row in table for cell in row if cell and cell.right == right]
            # One of each cell, then a second one: where room ends, no cell is left without.
            for place in range(max(map(len, shown), default=0)):
                paths += [of[rows[place]] for rows in shown if place < len(rows)]
    return paths


def said_of(answered: Answered, row: int, names: Sequence[str]) -> dict[str, Any]:
    """Return what was said of a picture, as the page shows it.

    Returns
    -------
    dict
        ``path``, ``truth``, ``top`` (name, probability and whether it is true of the most probable classes) and ``own``
        (name and probability of what is true and not among these).
    """
    given, truth = answered.predictions.probabilities[row], answered.truth[row]
    is_of = [int(truth)] if answered.truth.ndim == 1 else [int(column) for column in np.flatnonzero(truth)]
    top = [int(column) for column in np.argsort(-given, kind="stable")[:_TOP]]
    return {
        "path": printable(answered.predictions.paths[row]),
        "truth": ", ".join(printable(names[column]) for column in is_of) or "no label",
        "top": [(printable(names[column]), round(float(given[column]), 4), column in is_of) for column in top],
        "own": [(printable(names[column]), round(float(given[column]), 4)) for column in is_of if column not in top],
    }


class ScriptData:
    """The pictures of a page, each once, by number.

    Parameters
    ----------
    run : FinishedRun
    parts : dict of str to Answered
    shelf : ThumbnailStore
    """

    def __init__(self, run: FinishedRun, parts: Mapping[str, Answered], shelf: ThumbnailStore) -> None:
        self._run, self._parts, self._shelf = run, parts, shelf
        self._said = {
            int(row): (answered, place) for answered in parts.values() for place, row in enumerate(answered.rows)
        }
        self._number_of: dict[int, int] = {}
        self.images: list[dict[str, Any]] = []

    def number(self, row: int) -> int:
        """Return the number of a picture, by its row in the split."""
        if row not in self._number_of:
            self._number_of[row] = len(self.images)
            of = self._run.split.rows[row]
            if row in self._said:
                answered, place = self._said[row]
                facts = said_of(answered, place, self._run.split.class_names)
            else:
                facts = {"path": printable(of.path), "truth": printable(", ".join(of.labels)), "top": [], "own": []}
            self.images.append({**facts, "part": of.part, "uri": self._shelf[of.path]})
        return self._number_of[row]

    def cells(self, tables: Tables) -> dict[str, dict[str, Any]]:
        """Return for each part and cell its words, its count, and the numbers of its pictures."""
        return {
            part: {
                cell.key: {
                    "words": printable(cell.words),
                    "count": cell.count,
                    "of": cell.of,
                    "right": cell.right,
                    "images": [self.number(int(self._parts[part].rows[place])) for place in cell.rows],
                }
                for row in table
                for cell in row
                if cell
            }
            for part, table in tables.items()
        }


def map_of(
    around: FeatureNeighbourhood,
    parts: Mapping[str, Answered],
    behind: ScriptData,
    rows: NDArray[np.int64],
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Return the points of the map of a run where a picture has one class.

    Returns
    -------
    dict
        ``points`` (x, y, column of the class, whether it was wrong, number of the picture), ``left_out``, ``mixed``
        and ``around``, see `FeatureNeighbourhood.mixed`.
    """
    split = around.run.split
    truth, places = split.truth(), around.places(rows, progress)
    said = np.full(len(split.rows), -1)
    for answered in parts.values():
        said[answered.rows] = answered.predicted
    wrong = (said >= 0) & (said != truth)
    points = [
        (
            round(_MAP_WIDTH * x, 1),
            round(_MAP_HEIGHT * (1 - y), 1),
            int(truth[row]),
            bool(wrong[row]),
            behind.number(int(row)),
        )
        for row, (x, y) in zip(rows, places.tolist(), strict=True)
    ]
    return {"points": points, "left_out": len(split.rows) - len(rows), "mixed": around.mixed(rows), "around": AROUND}
