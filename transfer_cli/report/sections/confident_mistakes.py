"""Confident mistakes: with saliency map and the most similar training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from transfer_cli.report.context import ReportContext
from transfer_cli.report.saliency import saliency_overlays
from transfer_cli.report.script_data import prediction_of
from transfer_cli.report.sections.section import Section
from transfer_cli.text import printable


@dataclass(frozen=True)
class ConfidentMistakesSection(Section):
    """Per split, the most confident mistakes: see `prediction_of`, with ``uri``, ``saliency`` and ``similar``."""

    id = "confident-mistakes"
    title = "Confident mistakes"
    mistakes: Mapping[str, tuple[Mapping[str, Any], ...]]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section; only the images of the first split are explained."""
        part, rows = context.parts[context.part], context.mistakes[context.part]
        paths = [part.predictions.paths[row] for row in rows]
        no_overlays: dict[str, str] = {}
        overlays = context.omissions.attempt(
            "the saliency maps of confident mistakes",
            lambda: saliency_overlays(context.run, paths, part.predicted[rows], context.progress),
            no_overlays,
        )
        return cls({name: _of_part(context, name, overlays) for name in context.parts})


def _of_part(context: ReportContext, name: str, overlays: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    part, thumbnails = context.parts[name], context.thumbnails
    mistakes = []
    for row, neighbours in zip(context.mistakes[name], context.similar[name], strict=True):
        path = part.predictions.paths[row]
        similar = [
            {
                "uri": thumbnails[near.row.path],
                "label": printable(", ".join(near.row.labels)),
                "path": printable(near.row.path),
            }
            for near in neighbours
        ]
        prediction = prediction_of(part, int(row), context.run.split.class_names)
        mistakes.append({**prediction, "uri": thumbnails[path], "saliency": overlays.get(path), "similar": similar})
    return tuple(mistakes)
