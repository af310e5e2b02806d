"""The data of the page's script: each image that it can show, and which images belong to which cell and map point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer_cli.report.context import ReportContext
from transfer_cli.runs.completed_run import PartPredictions
from transfer_cli.text import printable

_TOP = 3


def script_data(context: ReportContext) -> dict[str, Any]:
    """Return the images of the tables and of the map.

    Returns
    -------
    dict
        ``images``: see `prediction_of`, with ``split`` and ``uri``, the thumbnail or None; ``cells``: per split and
        cell title, count, total, correct, and the numbers of its images; ``points``: the number of the image of each
        point on the map.
    """
    numbers: dict[int, int] = {}

    def number_of(row: int) -> int:
        return numbers.setdefault(row, len(numbers))

    cells = {
        part: {
            cell.key: {
                "title": printable(cell.title),
                "count": cell.count,
                "total": cell.total,
                "correct": cell.correct,
                "images": [number_of(int(context.parts[part].rows[place])) for place in cell.rows],
            }
            for row in table
            for cell in row
            if cell
        }
        for part, table in context.tables.items()
    }
    points = [number_of(int(row)) for row in context.map_rows]
    predicted = {int(row): (part, place) for part in context.parts.values() for place, row in enumerate(part.rows)}
    images = [_image(context, row, predicted.get(row)) for row in numbers]
    return {"images": images, "cells": cells, "points": points}


def prediction_of(part: PartPredictions, place: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the prediction for an image, as the page shows it.

    Returns
    -------
    dict
        ``path``; ``true_label``; ``top``: name, probability and whether it is true, of the most probable classes;
        ``rest``: name and probability of the true classes that are not among these.
    """
    probabilities, truth = part.predictions.probabilities[place], part.truth[place]
    true_columns = [int(truth)] if part.truth.ndim == 1 else [int(column) for column in np.flatnonzero(truth)]
    top = [int(column) for column in np.argsort(-probabilities, kind="stable")[:_TOP]]

    def named(column: int) -> tuple[str, float]:
        return printable(names[column]), round(float(probabilities[column]), 4)

    return {
        "path": printable(part.predictions.paths[place]),
        "true_label": ", ".join(printable(names[column]) for column in true_columns) or "no label",
        "top": [(*named(column), column in true_columns) for column in top],
        "rest": [named(column) for column in true_columns if column not in top],
    }


def _image(context: ReportContext, row: int, predicted: tuple[PartPredictions, int] | None) -> dict[str, Any]:
    split = context.run.split
    of = split.rows[row]
    values = {"path": printable(of.path), "true_label": printable(", ".join(of.labels)), "top": [], "rest": []}
    if predicted:
        values = prediction_of(*predicted, split.class_names)
    return {**values, "split": of.part, "uri": context.thumbnails[of.path]}
