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
ClassMetrics = Mapping[str, Sequence[MetricValue | None]]


@dataclass(frozen=True)
class PerClassSection(Section):
    """The metrics of each class on each split, see `per_class`."""

    id = "classes"
    title = "Classes"
    parts: Mapping[str, ClassMetrics]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        names, metrics = context.run.split.class_names, context.run.metrics
        return cls({part: per_class(names, of, metrics[part]) for part, of in context.facts.scores.items()})


def per_class(names: Sequence[str], scores: PartScores, metrics: Mapping[str, MetricValue]) -> ClassMetrics:
    """Return the value per class of each metric that any class has; None if a class has none.

    A metric that metrics.json lacks is computed here, without an interval.
    """
    support, predicted, correct = scores.support, scores.predicted, scores.correct
    shares = {"recall": (correct, support), "precision": (correct, predicted), "f1": (2 * correct, support + predicted)}
    table = {metric: [metrics.get(f"{metric}/{name}") for name in names] for metric in METRICS}
    for metric, (part, whole) in shares.items():
        pairs = zip(table[metric], part.tolist(), whole.tolist(), strict=True)
        table[metric] = [value or (exact_value(some / every) if every else None) for value, some, every in pairs]
    return {metric: values for metric, values in table.items() if any(values)}
