"""Classes: recall, precision and F1 per class, with the intervals of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from transfer_cli.metrics.intervals import MetricValue, exact_value
from transfer_cli.report.context import ReportContext
from transfer_cli.report.run_facts import PartScores
from transfer_cli.report.sections.section import Section

METRICS = ("recall", "precision", "f1", "average_precision", "roc_auc")


@dataclass(frozen=True)
class ClassRow:
    """A class: its number of images, and its metrics by the names in `METRICS`, None if there is no value."""

    name: str
    support: int
    metrics: Mapping[str, MetricValue | None]


@dataclass(frozen=True)
class PartClasses:
    """The classes on a split, and the metrics that any of them has."""

    name: str
    rows: tuple[ClassRow, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class PerClassSection(Section):
    """The metrics of each class on each split."""

    id = "classes"
    title = "Classes"
    parts: tuple[PartClasses, ...]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        parts = []
        for part in context.parts:
            rows = per_class(context.run.split.class_names, context.scores(part), context.run.metrics[part])
            metrics = tuple(metric for metric in METRICS if any(row.metrics[metric] for row in rows))
            parts.append(PartClasses(part, tuple(rows), metrics))
        return cls(tuple(parts))


def per_class(names: Sequence[str], scores: PartScores, metrics: Mapping[str, MetricValue]) -> list[ClassRow]:
    """Return one row per class; a metric that metrics.json lacks is computed here, without an interval."""
    rows = []
    for column, name in enumerate(names):
        support, predicted, correct = (
            int(counts[column]) for counts in (scores.support, scores.predicted, scores.correct)
        )
        computed = {
            "recall": correct / support if support else None,
            "precision": correct / predicted if predicted else None,
            "f1": 2 * correct / (support + predicted) if support + predicted else None,
        }
        values: dict[str, MetricValue | None] = {}
        for metric in METRICS:
            value = computed.get(metric)
            values[metric] = metrics.get(f"{metric}/{name}", None if value is None else exact_value(value))
        rows.append(ClassRow(name, support, values))
    return rows
