"""Where each picture of a run lies among the others: its place on a map, what lies around it, what is most like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.features import table
from transfer_cli.features.nearest import Neighbour, nearest
from transfer_cli.features.tsne import layout
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.completed_run import FinishedRun

POINTS = 3000
"""So many pictures are on the map at most: those of val and test before those of train."""
AROUND = 10
"""So many neighbours say among which classes a class lies."""


@dataclass(frozen=True)
class Mixed:
    """How far a class lies among others.

    Attributes
    ----------
    name : str
    share : float
        Of the nearest neighbours of its pictures, how many are of other classes.
    most : str or None
        The class that most of these are of.
    most_share : float
    """

    name: str
    share: float
    most: str | None
    most_share: float


@dataclass(frozen=True)
class FeatureNeighbourhood:
    """The features of a run, and what can be asked of them.

    Attributes
    ----------
    run : FinishedRun
    matrix : ndarray of shape (n, width), float32
        In the order of the split.
    """

    run: FinishedRun
    matrix: NDArray[np.float32]

    @classmethod
    def read(cls, run: FinishedRun) -> FeatureNeighbourhood:
        """Return those of a run; raise RunError where it has no features."""
        return cls(run, table.of_run(run))

    def like(self, rows: Sequence[int], count: int) -> list[list[Neighbour]]:
        """Return for each of some rows of the split the train pictures most like it by the cosine of their features."""
        train = np.flatnonzero(self.run.split.mask("train"))
        if not len(train) or not len(rows):
            return [[] for _ in rows]
        # One more, in case the picture is itself of train.
        found, cosines = nearest(self.matrix[train], self.matrix[list(rows)], count + 1)
        answers = []
        for row, places, near in zip(rows, found, cosines, strict=True):
            others = [(int(train[place]), float(cosine)) for place, cosine in zip(places, near, strict=True)]
            kept = [(self.run.split.rows[other], cosine) for other, cosine in others if other != row][:count]
            answers.append([Neighbour(other, cosine) for other, cosine in kept])
        return answers

    def chosen(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the split that are on the map, `first` before others, in the order of the split."""
        count = len(self.matrix)
        if count <= POINTS:
            return np.arange(count, dtype=np.int64)
        random = np.random.default_rng(0)
        others = np.setdiff1d(np.arange(count), first)
        order = np.concatenate([random.permutation(np.unique(first)), random.permutation(others)])
        return np.sort(order[:POINTS])

    def places(self, rows: NDArray[np.int64], progress: Progress = SILENT) -> NDArray[np.float64]:
        """Return where some rows lie on the map, of shape (n, 2), each coordinate from 0 to 1."""
        laid = layout(self.matrix[rows], 0, progress).astype(np.float64)
        low, span = laid.min(axis=0), np.ptp(laid, axis=0)
        return np.asarray((laid - low) / np.where(span > 0, span, 1), np.float64)

    def mixed(self, rows: NDArray[np.int64]) -> list[Mixed]:
        """Return how far each class lies among others, of some rows of the split; the most mixed first."""
        names = self.run.split.class_names
        truth = self.run.split.truth()[rows]
        found, _ = nearest(self.matrix[rows], self.matrix[rows], AROUND + 1)
        answers = []
        for column, name in enumerate(names):
            mine = np.flatnonzero(truth == column)
            around = np.array([truth[other] for row in mine for other in found[row] if other != row], np.int64)
            strange = np.bincount(around[around != column], minlength=len(names))
            if not len(around):
                continue
            most = int(strange.argmax())
            answers.append(
                Mixed(
                    name,
                    float(strange.sum() / len(around)),
                    names[most] if strange[most] else None,
                    float(strange[most] / len(around)),
                )
            )
        return sorted(answers, key=lambda mixed: -mixed.share)
