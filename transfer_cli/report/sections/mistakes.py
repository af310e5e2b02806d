"""Mistakes: the confusion matrix of each split, with the images behind each number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from transfer_cli.report.confusion_cells import Cell, Table, mistakes_in
from transfer_cli.report.context import ReportContext
from transfer_cli.report.sections.section import Section

MAX_MATRIX_CLASSES = 30
"""With more classes the most frequent mistakes are listed instead of a matrix."""
_LISTED = 60


@dataclass(frozen=True)
class PartMistakes:
    """The mistakes on a split: a table, or None if it would be too wide; then the most frequent ones count."""

    name: str
    table: Table | None
    mistakes: tuple[Cell, ...]
    more_mistakes: int


@dataclass(frozen=True)
class MistakesSection(Section):
    """The mistakes on each split."""

    id = "mistakes"
    title = "Mistakes"
    parts: tuple[PartMistakes, ...]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        return cls(tuple(_of_part(context, part) for part in context.parts))


def _of_part(context: ReportContext, part: str) -> PartMistakes:
    fits = len(context.names) <= MAX_MATRIX_CLASSES or context.is_multi_label
    mistakes = mistakes_in(context.tables[part])
    return PartMistakes(
        part,
        context.tables[part] if fits else None,
        tuple(mistakes[:_LISTED]),
        max(0, len(mistakes) - _LISTED),
    )
