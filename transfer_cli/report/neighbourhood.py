"""The images of a run in the feature space of its network: similar images, 2-D map, how far classes are mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.features import table
from transfer_cli.features.nearest import Neighbour, nearest
from transfer_cli.features.tsne import layout
from transfer_cli.progress import Progress
from transfer_cli.runs.completed_run import FinishedRun

MAX_POINTS = 3000
"""Images on the map; validation and test images have precedence over training images."""
NEIGHBOURS = 10
"""Nearest neighbours by which the mixing of classes is measured."""


ClassMixing = tuple[str, float, str | None, float]
"""A class, the share of other classes among the neighbours of its images, the most frequent of these, its share."""


class FeatureNeighbourhood:
    """The features of a run.

    Attributes
    ----------
    split : Split
    matrix : ndarray of shape (n, width), float32
        Features in the order of the split.

    Raises
    ------
    RunError
        If the run has no features.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.split, self.matrix = run.split, table.features_of_run(run)

    def similar(self, rows: Sequence[int], count: int) -> list[list[Neighbour]]:
        """Return the `count` most similar training images of each row of the split, by cosine similarity."""
        train = np.flatnonzero(self.split.mask("train"))
        if not len(train) or not len(rows):
            return [[] for _ in rows]
        # One more, since a training image is its own nearest neighbour.
        columns, cosines = nearest(self.matrix[train], self.matrix[list(rows)], count + 1)
        return [
            [
                Neighbour(self.split.rows[train[place]], float(cosine))
                for place, cosine in zip(places, similarities, strict=True)
                if train[place] != row
            ][:count]
            for row, places, similarities in zip(rows, columns, cosines, strict=True)
        ]

    def sample(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the split for the map, in order: rows of `first` have precedence, others are random."""
        count = len(self.matrix)
        if count <= MAX_POINTS:
            return np.arange(count, dtype=np.int64)
        random = np.random.default_rng(0)
        others = np.setdiff1d(np.arange(count), first)
        order = np.concatenate([random.permutation(np.unique(first)), random.permutation(others)])
        return np.sort(order[:MAX_POINTS])

    def positions(self, rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float64]:
        """Return the position of some rows on the map, of shape (n, 2), each coordinate from 0 to 1."""
        points = layout(self.matrix[rows], 0, progress).astype(np.float64)
        low, span = points.min(axis=0), np.ptp(points, axis=0)
        return np.asarray((points - low) / np.where(span > 0, span, 1), np.float64)

    def class_mixing(self, rows: NDArray[np.int64]) -> list[ClassMixing]:
        """Return the mixing of each class among some rows of the split, the most mixed first."""
        names, truth = self.split.class_names, self.split.truth()[rows]
        neighbours, _ = nearest(self.matrix[rows], self.matrix[rows], NEIGHBOURS + 1)
        mixing: list[ClassMixing] = []
        for column, name in enumerate(names):
            members = np.flatnonzero(truth == column)
            labels = np.array([truth[other] for row in members for other in neighbours[row] if other != row], np.int64)
            if len(labels):
                others = labels[labels != column]
                counts = np.bincount(others, minlength=len(names))
                most = int(counts.argmax())
                other = names[most] if len(others) else None
                mixing.append((name, len(others) / len(labels), other, float(counts[most] / len(labels))))
        return sorted(mixing, key=lambda each: -each[1])
