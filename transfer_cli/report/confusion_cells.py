"""The images of a split, grouped by true label and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.runs.completed_run import PartPredictions

MAX_MISTAKES_SHOWN = 24
"""Images per cell with a wrong prediction."""
MAX_CORRECT_SHOWN = 8
"""Images per cell with a correct prediction."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """Images with the same true label and the same prediction.

    Attributes
    ----------
    key : str
        Unique within its split.
    title : str
        ``shirt predicted as t-shirt``.
    count : int
        Number of images.
    total : int
        Number of images with this true label (in a multi-label task also: with this predicted label).
    correct : bool
        Whether the prediction is correct.
    rows : ndarray of int
        Positions in the split of the images to show: mistakes by descending, correct ones by ascending confidence.
    """

    key: str
    title: str
    count: int
    total: int
    correct: bool
    rows: Rows

    @property
    def share(self) -> float:
        """`count` as a share of `total`."""
        return self.count / self.total if self.total else 0.0


Table = list[list[Cell | None]]


def confusion_table(part: PartPredictions, names: Sequence[str], thresholds: Sequence[float] | None) -> Table:
    """Return the cells of a split; None for an empty cell.

    One row per class. The columns are the predicted classes; in a multi-label task they are: found, missed, predicted
    wrongly.
    """
    return _confusion_matrix(part, names) if thresholds is None else _label_table(part, names, thresholds)


def mistakes_in(table: Table) -> list[Cell]:
    """Return the cells with wrong predictions, the largest first."""
    wrong = (cell for row in table for cell in row if cell and not cell.correct)
    return sorted(wrong, key=lambda cell: -cell.count)


def confident_mistakes(part: PartPredictions, count: int) -> Rows:
    """Return the positions of the most confident mistakes.

    They are ordered by the difference between the probabilities of the predicted class and the true class.
    """
    probabilities = part.predictions.probabilities
    if part.truth.ndim == 1:
        wrong = np.flatnonzero(part.predicted != part.truth)
        gap = probabilities[wrong].max(axis=1) - probabilities[wrong, part.truth[wrong]]
    else:
        distance = np.abs(part.truth - probabilities).max(axis=1)
        wrong = np.flatnonzero(distance > 0.5)
        gap = distance[wrong]
    return np.asarray(wrong[np.argsort(-gap, kind="stable")][:count], np.int64)


def _confusion_matrix(part: PartPredictions, names: Sequence[str]) -> Table:
    predicted, confidence = part.predicted, part.predictions.probabilities.max(axis=1)
    table: Table = []
    for row, name in enumerate(names):
        of_class = np.flatnonzero(part.truth == row)
        cells: list[Cell | None] = [None] * len(names)
        # With 1000 classes nearly all cells of a row are empty.
        for column in map(int, np.unique(predicted[of_class])):
            rows = of_class[predicted[of_class] == column]
            title = f"{name} predicted correctly" if row == column else f"{name} predicted as {names[column]}"
            cells[column] = _cell(f"{row}-{column}", title, rows, len(of_class), row == column, confidence)
        table.append(cells)
    return table


def _label_table(part: PartPredictions, names: Sequence[str], thresholds: Sequence[float]) -> Table:
    probabilities = part.predictions.probabilities
    predicted = probabilities >= np.asarray(thresholds)
    table: Table = []
    for column, name in enumerate(names):
        has, is_predicted, yes = part.truth[:, column] > 0, predicted[:, column], probabilities[:, column]
        kinds = (
            ("found", f"{name} predicted correctly", has & is_predicted, has, yes),
            ("missed", f"{name} missed", has & ~is_predicted, has, 1 - yes),
            ("wrong", f"{name} predicted wrongly", ~has & is_predicted, is_predicted, yes),
        )
        table.append(
            [
                _cell(f"{column}-{kind}", title, np.flatnonzero(mask), int(of.sum()), kind == "found", confidence)
                for kind, title, mask, of, confidence in kinds
            ]
        )
    return table


def _cell(key: str, title: str, rows: Rows, total: int, correct: bool, confidence: NDArray[np.float32]) -> Cell | None:
    if not len(rows):
        return None
    order = np.argsort(confidence[rows] if correct else -confidence[rows], kind="stable")
    shown = rows[order][: MAX_CORRECT_SHOWN if correct else MAX_MISTAKES_SHOWN]
    return Cell(key, title, len(rows), total, correct, shown)
