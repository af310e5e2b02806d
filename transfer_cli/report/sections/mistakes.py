"""The mistakes on each split: the confusion matrix with the images behind each number, and the confident mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from transfer_cli.report.confusion_cells import Cell, mistakes_in
from transfer_cli.report.context import ReportContext
from transfer_cli.report.saliency import saliency_overlays
from transfer_cli.report.script_data import prediction_of
from transfer_cli.report.sections.section import Section
from transfer_cli.text import printable

MAX_MATRIX_CLASSES = 30
"""With more classes the most frequent mistakes are listed instead of a matrix."""


@dataclass(frozen=True)
class MistakesSection(Section):
    """Whether the confusion matrices fit on the page, and the mistakes on each split, the most frequent first."""

    id = "mistakes"
    title = "Mistakes"
    listed: ClassVar[int] = 60
    matrix_fits: bool
    mistakes: Mapping[str, Sequence[Cell]]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        fits = len(context.names) <= MAX_MATRIX_CLASSES
        return cls(fits, {part: mistakes_in(table) for part, table in context.tables.items()})


@dataclass(frozen=True)
class ConfidentMistakesSection(Section):
    """Per split, the most confident mistakes: see `prediction_of`, with ``uri``, ``saliency`` and ``similar``."""

    id = "confident-mistakes"
    title = "Confident mistakes"
    mistakes: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section; only the images of the first split are explained."""
        part, rows = context.parts[context.part], context.mistakes[context.part]
        paths = [part.predictions.paths[row] for row in rows]
        overlays: dict[str, str] = context.attempt(
            "the saliency maps of confident mistakes",
            lambda: saliency_overlays(context.run, paths, part.predicted[rows], context.progress),
            {},
        )
        return cls({name: _confident_mistakes(context, name, overlays) for name in context.parts})


def _confident_mistakes(context: ReportContext, name: str, overlays: Mapping[str, str]) -> list[dict[str, Any]]:
    part, thumbnails = context.parts[name], context.thumbnails
    mistakes = []
    for row, neighbours in zip(context.mistakes[name], context.similar[name], strict=True):
        path = part.predictions.paths[row]
        similar = [
            (thumbnails[near.row.path], printable(", ".join(near.row.labels)), printable(near.row.path))
            for near in neighbours
        ]
        prediction = prediction_of(part, int(row), context.run.split.class_names)
        mistakes.append({**prediction, "uri": thumbnails[path], "saliency": overlays.get(path), "similar": similar})
    return mistakes
