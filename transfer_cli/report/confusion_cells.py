"""The pictures of a part, sorted by what they are and what they were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.runs.completed_run import Answered

SHOWN = 24
"""So many pictures of a cell are shown at most; there are more where a page has room for few cells."""
SHOWN_RIGHT = 8
"""So many of those that were right."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """Pictures with one truth and one answer.

    Attributes
    ----------
    key : str
        Names it within its part.
    words : str
        ``shirt taken for t-shirt``.
    count : int
        Its pictures.
    of : int
        The pictures with this truth.
    right : bool
        Whether the answer is the truth.
    rows : ndarray of int
        Places in the part of those that are shown: of mistakes the surest first, of right answers the least sure.
    """

    key: str
    words: str
    count: int
    of: int
    right: bool
    rows: Rows

    @property
    def share(self) -> float:
        """Its share of the pictures with this truth."""
        return self.count / self.of if self.of else 0.0


def matrix(part: Answered, names: Sequence[str]) -> list[list[Cell | None]]:
    """Return the cells of a part where a picture has one class: a row a class, a column an answer; None where empty."""
    predicted, sure = part.predicted, part.predictions.probabilities.max(axis=1)
    table: list[list[Cell | None]] = []
    for row, name in enumerate(names):
        mine = np.flatnonzero(part.truth == row)
        cells: list[Cell | None] = []
        for column, said in enumerate(names):
            there = mine[predicted[mine] == column]
            words = f"{name} rightly named" if row == column else f"{name} taken for {said}"
            cells.append(_cell(f"{row}-{column}", words, there, len(mine), row == column, sure))
        table.append(cells)
    return table


def answers(part: Answered, names: Sequence[str], thresholds: Sequence[float]) -> list[list[Cell | None]]:
    """Return the cells of a part where a picture has several labels: a row a label; found, missed, wrongly given."""
    given = part.predictions.probabilities
    said = given >= np.asarray(thresholds)
    table: list[list[Cell | None]] = []
    for column, name in enumerate(names):
        has = part.truth[:, column] > 0
        kinds = (
            ("found", f"{name} rightly given", has & said[:, column], has, given[:, column]),
            ("missed", f"{name} missed", has & ~said[:, column], has, 1 - given[:, column]),
            ("wrong", f"{name} wrongly given", ~has & said[:, column], said[:, column], given[:, column]),
        )
        table.append(
            [
                _cell(f"{column}-{kind}", words, np.flatnonzero(which), int(of.sum()), kind == "found", sure)
                for kind, words, which, of, sure in kinds
            ]
        )
    return table


def worst(part: Answered, count: int) -> Rows:
    """Return the places of the surest mistakes: those whose truth was given the least of what was said instead."""
    given = part.predictions.probabilities
    if part.truth.ndim == 1:
        wrong = np.flatnonzero(part.predicted != part.truth)
        gap = given[wrong].max(axis=1) - given[wrong, part.truth[wrong]]
    else:
        distance = np.abs(part.truth - given).max(axis=1)
        wrong = np.flatnonzero(distance > 0.5)
        gap = distance[wrong]
    return np.asarray(wrong[np.argsort(-gap, kind="stable")][:count], np.int64)


def _cell(key: str, words: str, there: Rows, of: int, right: bool, sure: NDArray[np.float32]) -> Cell | None:
    if not len(there):
        return None
    order = np.argsort(sure[there] if right else -sure[there], kind="stable")
    return Cell(key, words, len(there), of, right, there[order][: SHOWN_RIGHT if right else SHOWN])
