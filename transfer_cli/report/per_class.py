"""What came out for each class: recall, precision and F1, with the intervals that metrics.json has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transfer_cli.metrics.scores import Figure
from transfer_cli.report.run_facts import Scored

KINDS = ("recall", "precision", "f1", "average_precision", "roc_auc")


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes
    ----------
    name : str
    support : int
    figures : dict of str to Figure or None
        By the kinds of `KINDS`; None where a run has none.
    """

    name: str
    support: int
    figures: Mapping[str, Figure | None]


def per_class(names: Sequence[str], scored: Scored, figures: Mapping[str, Figure]) -> list[ClassRow]:
    """Return a row a class; what metrics.json lacks is counted, and has no interval then."""
    rows = []
    for place, name in enumerate(names):
        support, given, right = (int(counts[place]) for counts in (scored.support, scored.given, scored.right))
        counted = {
            "recall": right / support if support else None,
            "precision": right / given if given else None,
            "f1": 2 * right / (support + given) if support + given else None,
        }
        found: dict[str, Figure | None] = {}
        for kind in KINDS:
            value = counted.get(kind)
            plain = None if value is None else Figure(value=value, low=None, high=None)
            found[kind] = figures.get(f"{kind}/{name}", plain)
        rows.append(ClassRow(name, support, found))
    return rows


def kinds_of(rows: Sequence[ClassRow]) -> list[str]:
    """Return the kinds that any class has."""
    return [kind for kind in KINDS if any(row.figures[kind] for row in rows)]
