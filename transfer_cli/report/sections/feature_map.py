"""Map: the images of the run in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from transfer_cli.report.context import ReportContext
from transfer_cli.report.neighbourhood import NEIGHBOURS, ClassMixing
from transfer_cli.report.sections.section import Section

_WIDTH, _HEIGHT = 1000, 700


@dataclass(frozen=True)
class FeatureMapSection(Section):
    """The map.

    Attributes
    ----------
    points : sequence of (float, float, int, bool)
        In the order of `ReportContext.map_rows`: coordinates, column of the class, whether the prediction is wrong.
    mixing : sequence of ClassMixing
    """

    id = "map"
    title = "Map"
    neighbours: ClassVar[int] = NEIGHBOURS
    points: Sequence[tuple[float, float, int, bool]]
    mixing: Sequence[ClassMixing]

    @classmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section, or None without features or in a multi-label task."""
        rows, neighbourhood, split = context.map_rows, context.neighbourhood, context.run.split
        if neighbourhood is None or not len(rows):
            return None
        truth, predicted = split.truth(), np.full(len(split.rows), -1)
        for part in context.parts.values():
            predicted[part.rows] = part.predicted
        wrong = (predicted >= 0) & (predicted != truth)
        positions = neighbourhood.positions(rows, context.progress)
        points = [
            (round(_WIDTH * x, 1), round(_HEIGHT * (1 - y), 1), int(truth[row]), bool(wrong[row]))
            for row, (x, y) in zip(rows, positions.tolist(), strict=True)
        ]
        return cls(points, neighbourhood.class_mixing(rows))
