"""All about a finished run on one page, for a person who knows pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transfer_cli.bundle import ModelBundle
from transfer_cli.case import Case
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.doctor import CHECKS, Finding, findings
from transfer_cli.engine import cells, pages, summary
from transfer_cli.engine.course import Course
from transfer_cli.engine.examined import case_of, duplicates, skipped
from transfer_cli.engine.per_class import kinds_of, per_class
from transfer_cli.engine.shelf import Shelf
from transfer_cli.errors import RunError
from transfer_cli.finished import Answered, FinishedRun
from transfer_cli.predictions import printable
from transfer_cli.progress import SILENT, Progress

CLASSES_IN_A_MATRIX = 30
"""With more classes the most frequent mistakes are listed instead."""
WORST = 12
_PAIRS = 60
_TOP = 3


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    path : Path
    size : int
        In bytes.
    pictures : int
        How many are on it.
    gone : int
        How many could not be read any more.
    findings : tuple of Finding
    """

    path: Path
    size: int
    pictures: int
    gone: int
    findings: tuple[Finding, ...]


def report(run: FinishedRun, target: Path | None = None, *, progress: Progress = SILENT) -> Report:
    """Write the page of a run.

    Parameters
    ----------
    run : FinishedRun
    target : Path, optional
        ``report.html`` in the run where it is not given.
    progress : Progress

    Raises
    ------
    RunError
        When nothing of the run was scored.
    """
    if not run.parts:
        raise RunError(
            f"{run.directory.path} has no predictions, so there is nothing to report on.",
            hint="Give extract a classifier: transfer-cli extract FOLDER --classifier logistic",
        )
    target = target or run.directory.report
    names = run.split.class_names
    thresholds = _thresholds(run)
    parts = {part: run.answered(part) for part in reversed(run.parts)}
    tables = {part: _table(answered, names, thresholds) for part, answered in parts.items()}
    worst = {part: cells.worst(answered, WORST) for part, answered in parts.items()}
    course = Course.read(run)

    shelf = Shelf(run.root)
    shelf.lay(_in_order_of_weight(parts, tables, worst), progress)
    case = case_of(run, parts, course, thresholds, gone=len(shelf.gone))
    found = findings(case)
    first = next(iter(parts))
    facts = {
        "run": run,
        "case": case,
        "names": [printable(name) for name in names],
        "findings": found,
        "course": course,
        "checks": len(CHECKS),
        "contents": _contents(course),
        "summary": summary.sentences(case, first, case.scored[first], run.metrics[first]),
        "ruler": summary.ruler(case, first, case.scored[first]),
        "stats": summary.stats(case, first, case.scored[first], run.metrics[first], tables[first]),
        "parts_of_run": [
            _part(run, part, answered, tables[part], worst[part], case, shelf) for part, answered in parts.items()
        ],
        "data": _data(parts, tables, names, shelf),
        "shelf": shelf,
        "duplicates": duplicates(run),
        "skipped": skipped(run),
        "environment": _json(run.directory.environment),
        "command": _text(run.directory.command),
        "recipe": _text(run.directory.recipe),
        "several": run.split.task == MULTI_LABEL,
        "shown_of_a_cell": cells.SHOWN,
        "shown_right": cells.SHOWN_RIGHT,
    }
    size = pages.render("report.html", target, script="report.js", **facts)
    return Report(target, size, len(shelf), len(shelf.gone), tuple(found))


Tables = Mapping[str, list[list["cells.Cell | None"]]]


def _table(part: Answered, names: Sequence[str], thresholds: Sequence[float] | None) -> list[list[cells.Cell | None]]:
    if thresholds is not None:
        return cells.answers(part, names, thresholds)
    return cells.matrix(part, names)


def _in_order_of_weight(parts: Mapping[str, Answered], tables: Tables, worst: Mapping[str, cells.Rows]) -> list[str]:
    """Return the pictures that the page shows: the worst mistakes, then the other mistakes, then right answers."""
    paths = [parts[part].predictions.paths[row] for part, rows in worst.items() for row in rows]
    for right in (False, True):
        for part, table in tables.items():
            of = parts[part].predictions.paths
            shown = [cell.rows for cells_ in table for cell in cells_ if cell and cell.right == right]
            # One of each cell, then a second one: where room ends, no cell is left without.
            for place in range(max(map(len, shown), default=0)):
                paths += [of[rows[place]] for rows in shown if place < len(rows)]
    return paths


def _part(
    run: FinishedRun, part: str, answered: Answered, table: Any, worst: cells.Rows, case: Case, shelf: Shelf
) -> dict[str, Any]:
    names, figures = case.class_names, run.metrics[part]
    rows = per_class(names, case.scored[part], figures)
    mistakes = sorted(
        (cell for cells_ in table for cell in cells_ if cell and not cell.right), key=lambda cell: -cell.count
    )
    return {
        "name": part,
        "scored": case.scored[part],
        "figures": figures,
        "out_of_fold": part == "val" and case.method == "extract" and not case.pictures["val"].sum(),
        "table": table if len(names) <= CLASSES_IN_A_MATRIX or case.scored[part].confusion is None else None,
        "mistakes": mistakes[:_PAIRS],
        "more_mistakes": max(0, len(mistakes) - _PAIRS),
        "classes": rows,
        "kinds": kinds_of(rows),
        "worst": [_shown(answered, int(row), names, shelf) for row in worst],
    }


def _shown(answered: Answered, row: int, names: Sequence[str], shelf: Shelf) -> dict[str, Any]:
    path = answered.predictions.paths[row]
    given = answered.predictions.probabilities[row]
    truth = answered.truth[row]
    is_of = [int(truth)] if answered.truth.ndim == 1 else [int(column) for column in np.flatnonzero(truth)]
    top = [int(column) for column in np.argsort(-given, kind="stable")[:_TOP]]
    return {
        "path": printable(path),
        "uri": shelf[path],
        "truth": ", ".join(printable(names[column]) for column in is_of) or "no label",
        "top": [(printable(names[column]), round(float(given[column]), 4), column in is_of) for column in top],
        "own": [(printable(names[column]), round(float(given[column]), 4)) for column in is_of if column not in top],
    }


def _data(parts: Mapping[str, Answered], tables: Tables, names: Sequence[str], shelf: Shelf) -> dict[str, Any]:
    """Return what the page's script shows behind each cell."""
    pictures: list[dict[str, Any]] = []
    shown: dict[str, dict[str, Any]] = {}
    for part, table in tables.items():
        place_of: dict[int, int] = {}
        shown[part] = {}
        for cell in (cell for row in table for cell in row if cell):
            for row in map(int, cell.rows):
                if row not in place_of:
                    place_of[row] = len(pictures)
                    pictures.append(_shown(parts[part], row, names, shelf))
            places = [place_of[row] for row in map(int, cell.rows)]
            words = printable(cell.words)
            shown[part][cell.key] = {"words": words, "count": cell.count, "of": cell.of, "pictures": places}
    return {"cells": shown, "pictures": pictures}


def _contents(course: Course) -> list[tuple[str, str]]:
    """Return the sections of the page: each is a file of templates/report/."""
    sections = [("next-steps", "What to do next"), ("mistakes", "Mistakes"), ("worst", "Surest mistakes")]
    sections += [("classes", "Classes")]
    sections += [("course", "Training")] if course.epochs or course.tried else []
    return [*sections, ("leaks", "Leaks"), ("run", "The run")]


def _thresholds(run: FinishedRun) -> tuple[float, ...] | None:
    if run.split.task != MULTI_LABEL:
        return None
    bundle, _ = ModelBundle.read(run.directory.path)
    return bundle.thresholds


def _text(path: Path) -> str:
    return printable(path.read_text("utf-8", "surrogateescape")) if path.is_file() else ""


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
