"""All about a finished run on one page, for a person who knows pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from transfer_cli.audit.leakage import found_or_read
from transfer_cli.bundle.bundle import ENSEMBLE, ModelBundle
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.errors import RunError, TransferError
from transfer_cli.features.nearest import Neighbour
from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering import html
from transfer_cli.rendering.palette import colours_of
from transfer_cli.rendering.thumbnails import ThumbnailStore
from transfer_cli.report import confusion_cells, summary
from transfer_cli.report.calibration import OfBundle, charts_of, of_bundle
from transfer_cli.report.diagnostics import CHECKS, Finding, findings
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.neighbourhood import FeatureNeighbourhood
from transfer_cli.report.per_class import kinds_of, per_class
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.report.run_facts_reader import case_of, duplicates, skipped
from transfer_cli.report.saliency import overlays
from transfer_cli.report.script_data import ScriptData, Table, in_order_of_weight, map_of, said_of
from transfer_cli.runs.completed_run import Answered, FinishedRun
from transfer_cli.text import printable

CLASSES_IN_A_MATRIX = 30
"""With more classes the most frequent mistakes are listed instead."""
WORST = 12
"""So many of the surest mistakes are shown of each part."""
_PAIRS = 60
COMPARED = 4000
"""Of more pictures near duplicates are not looked for: it takes minutes, and `leaks` does it."""
LEAKS = 24
"""So many pairs of pictures that are one are shown."""
ALIKE = 3
"""Pictures that are shown beside each of them: the most alike to learn from."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    path : Path
    size : int
        In bytes.
    images : int
        How many are on it.
    gone : int
        How many could not be read any more.
    findings : tuple of Finding
    left_out : dict of str to str
        What could not be made, and why.
    """

    path: Path
    size: int
    images: int
    gone: int
    findings: tuple[Finding, ...]
    left_out: Mapping[str, str]


class _LeftOut:
    """What a page is without, since it could not be made: each with the reason, which is said at once."""

    def __init__(self, progress: Progress) -> None:
        self.out: dict[str, str] = {}
        self._progress = progress

    def unless(self, what: str, make: Callable[[], Made], otherwise: Made) -> Made:
        """Return what `make` makes, or `otherwise`."""
        try:
            return make()
        except (TransferError, OSError) as error:
            self.out[what] = str(error)
            self._progress.warn(f"the report is without {what}: {error}")
            return otherwise


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
    names, rows_of = run.split.class_names, run.split.rows
    left = _LeftOut(progress)
    thresholds = _thresholds(run, left)
    parts = {part: run.answered(part) for part in reversed(run.parts)}
    first = next(iter(parts))
    tables = {part: _table(answered, names, thresholds) for part, answered in parts.items()}
    worst = {part: confusion_cells.worst(answered, WORST) for part, answered in parts.items()}
    joined = run.recipe.get("method") == ENSEMBLE or run.directory.members.is_file()
    none: FeatureNeighbourhood | None = None
    # Most ensembles have no features; the page says where their members' are.
    featureless = joined and not run.directory.features.is_file()
    around = (
        none
        if featureless
        else left.unless("the map and what is most alike", lambda: FeatureNeighbourhood.read(run), none)
    )
    alike: dict[str, list[list[Neighbour]]] = {
        part: around.like([int(parts[part].rows[row]) for row in rows], ALIKE) if around else [[] for _ in rows]
        for part, rows in worst.items()
    }
    mapped = np.zeros(0, np.int64)
    if around and run.split.task != MULTI_LABEL:
        mapped = around.chosen(np.concatenate([answered.rows for answered in parts.values()]))

    compares = around is not None and _can_be_compared(run)
    shared = left.unless(
        "copies in other parts", lambda: found_or_read(run, compares=compares, progress=progress), None
    )
    shelf = ThumbnailStore(run.root)
    wanted = [row.path for leak in (shared.found[:LEAKS] if shared else ()) for row in (leak.a, leak.b)]
    wanted += [near.row.path for of_part in alike.values() for of_picture in of_part for near in of_picture]
    wanted += in_order_of_weight(parts, tables, worst)
    shelf.lay([*wanted, *(rows_of[row].path for row in mapped)], progress)
    sure = parts[first]
    request = [sure.predictions.paths[row] for row in worst[first]]
    said = sure.predicted[worst[first]]
    no_maps: dict[str, str] = {}
    why = left.unless("what spoke for the surest mistakes", lambda: overlays(run, request, said, progress), no_maps)
    course = left.unless("the training", lambda: TrainingHistory.read(run), TrainingHistory((), None, (), ()))
    bundle = left.unless("what the bundle does about its certainty", lambda: of_bundle(run), OfBundle((), False))
    company, members = _company(run, left) if joined else (None, ())
    case = case_of(run, parts, course, thresholds, shared=shared, gone=len(shelf.gone), members=members)
    found = findings(case)
    behind = ScriptData(run, parts, shelf)
    data = {"cells": behind.cells(tables), "images": behind.images}
    map_ = map_of(around, parts, behind, mapped, progress) if around and len(mapped) else None
    data["points"] = [point[4] for point in map_["points"]] if map_ else []
    facts = {
        "run": run,
        "case": case,
        "names": [printable(name) for name in names],
        "findings": found,
        "checks": len(CHECKS),
        "course": course,
        "contents": _contents(course, map_ is not None, company is not None),
        "company": company,
        "summary": [*summary.sentences(case, first, case.scored[first]), *summary.together(company)],
        "ruler": summary.ruler(case, first, case.scored[first]),
        "stats": summary.stats(case, first, case.scored[first], run.metrics[first], tables[first]),
        "parts_of_run": [
            _part(run, part, tables[part], case)
            | {
                "certainty": charts_of(answered, [printable(name) for name in names]),
                "worst": [
                    _worst(answered, int(row), near, names, shelf, why)
                    for row, near in zip(worst[part], alike[part], strict=True)
                ],
            }
            for part, answered in parts.items()
        ],
        "of_bundle": bundle.sentences,
        "fitted_on_val": bundle.has_temperature,
        "left_out": left.out,
        "colours": [_colour(place) for place in range(len(names))],
        "map": map_,
        "data": data,
        "shelf": shelf,
        "duplicates": duplicates(run),
        "leaks": shared,
        "leaks_shown": LEAKS,
        "featureless": featureless,
        # Near duplicates are looked for by features, which an ensemble's members have.
        "leaks_of": company.rows[0].run if company and featureless else str(run.directory.path),
        "skipped": skipped(run),
        "environment": _environment(run),
        "command": _text(run.directory.command),
        "recipe": _text(run.directory.recipe),
        "several": run.split.task == MULTI_LABEL,
        "shown_of_a_cell": confusion_cells.SHOWN,
        "shown_right": confusion_cells.SHOWN_RIGHT,
    }
    size = html.render("report.html", target, script="report.js", **facts)
    return Report(target, size, len(shelf), len(shelf.gone), tuple(found), left.out)


def _table(part: Answered, names: Sequence[str], thresholds: Sequence[float] | None) -> Table:
    if thresholds is not None:
        return confusion_cells.answers(part, names, thresholds)
    return confusion_cells.matrix(part, names)


def _part(run: FinishedRun, part: str, table: Table, case: RunFacts) -> dict[str, Any]:
    """Return what the page says of one part."""
    names, figures = case.class_names, run.metrics[part]
    rows = per_class(names, case.scored[part], figures)
    wrong = (cell for row in table for cell in row if cell and not cell.right)
    mistakes = sorted(wrong, key=lambda cell: -cell.count)
    return {
        "name": part,
        "scored": case.scored[part],
        "figures": figures,
        "out_of_fold": part == "val" and case.out_of_fold,
        "table": table if len(names) <= CLASSES_IN_A_MATRIX or case.scored[part].confusion is None else None,
        "mistakes": mistakes[:_PAIRS],
        "more_mistakes": max(0, len(mistakes) - _PAIRS),
        "classes": rows,
        "kinds": kinds_of(rows),
    }


def _worst(
    answered: Answered,
    row: int,
    near: Sequence[Neighbour],
    names: Sequence[str],
    shelf: ThumbnailStore,
    why: Mapping[str, str],
) -> dict[str, Any]:
    """Return what the page says of one of the surest mistakes."""
    alike = [
        {"uri": shelf[row.path], "truth": printable(", ".join(row.labels)), "path": printable(row.path)}
        for row in (each.row for each in near)
    ]
    path = answered.predictions.paths[row]
    return {**said_of(answered, row, names), "uri": shelf[path], "alike": alike, "why": why.get(path)}


def _contents(course: TrainingHistory, mapped: bool, joined: bool) -> list[tuple[str, str]]:
    """Return the sections of the page: each is a file of templates/report/."""
    sections = [("next-steps", "What to do next"), *([("members", "The members")] if joined else [])]
    sections += [("mistakes", "Mistakes"), ("worst", "Surest mistakes")]
    sections += [("classes", "Classes"), ("certainty", "Certainty")]
    sections += [("course", "Training")] if course.epochs or course.tried else []
    sections += [("map", "Map")] if mapped else []
    return [*sections, ("leaks", "Leaks"), ("run", "The run")]


def _company(run: FinishedRun, left: _LeftOut) -> tuple[MemberComparison | None, tuple[ModelBundle, ...]]:
    """Return the members of an ensemble beside it, and their bundles."""
    company = left.unless("its members", lambda: MemberComparison.read(run.directory.members), None)
    none: tuple[ModelBundle, ...] = ()
    members = left.unless(
        "the networks of its members", lambda: tuple(ModelBundle.open(run.directory.path).leaves()), none
    )
    return company, members


def _can_be_compared(run: FinishedRun) -> bool:
    """Return whether near duplicates are looked for: not without pictures, and not for minutes."""
    rows = run.split.rows
    return len(rows) <= COMPARED and any((run.root / row.path).is_file() for row in rows)


def _colour(place: int) -> Markup:
    """Return the colours of a class, as attributes of whatever stands for it; those after the ninth have two."""
    one, other = ("#" + bytes(colour).hex() for colour in colours_of(place))
    return Markup('style="--fill:{};--edge:{}"{}').format(one, other, "" if one == other else Markup(" data-second"))


def _thresholds(run: FinishedRun, left: _LeftOut) -> tuple[float, ...] | None:
    if run.split.task != MULTI_LABEL:
        return None
    half = (0.5,) * len(run.split.class_names)
    what = "the thresholds of the labels (0.5 is taken for each)"
    return left.unless(what, lambda: ModelBundle.read(run.directory.path)[0].thresholds or half, half)


def _text(path: Path) -> str:
    return printable(path.read_text("utf-8", "surrogateescape")) if path.is_file() else ""


def _environment(run: FinishedRun) -> dict[str, Any]:
    path = run.directory.environment
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found
