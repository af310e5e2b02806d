"""How a run came to what it is: what was tried, epoch by epoch or value by value, as charts and a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from transfer_cli.io.csv_tables import read_table
from transfer_cli.recipe.stages import EarlyStopping
from transfer_cli.rendering.svg_charts import Chart, Line, Mark
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.history import Epoch
from transfer_cli.text import counted
from transfer_cli.training.loop import early_stopping


@dataclass(frozen=True)
class TrainingHistory:
    """What was tried.

    Attributes
    ----------
    epochs : tuple of Epoch
        Of finetune.
    best : Epoch or None
        The one that was kept.
    tried : tuple of dict
        Of extract: each value of the regularisation and its out-of-fold figures.
    events : tuple of dict
        As in events.jsonl.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch | None
    tried: tuple[Mapping[str, str], ...]
    events: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, run: FinishedRun) -> TrainingHistory:
        """Return the course of a run; empty where nothing was tried."""
        path = run.directory.history
        rows = read_table(path, ()) if path.is_file() else []
        events = tuple(run.directory.logged())
        if run.recipe.get("method") != "finetune":
            return cls((), None, tuple(rows), events)
        epochs = tuple(_epoch(row) for row in rows)
        early = EarlyStopping.model_validate(run.recipe.get("early_stopping", {}))
        judged = [epoch for epoch in epochs if epoch.val_loss is not None and not epoch.refit]
        return cls(epochs, max(judged, key=lambda epoch: early_stopping.key(epoch, early), default=None), (), events)

    def count(self, event: str) -> int:
        """Return how often something happened."""
        return sum(entry.get("event") == event for entry in self.events)

    @property
    def charts(self) -> list[Chart]:
        """The curves."""
        return self._curves() if self.epochs else self._path()

    def _curves(self) -> list[Chart]:
        shown = self.epochs
        marks = [Mark(self.best.epoch, f"kept: epoch {self.best.epoch}")] if self.best else []
        for before, after in pairwise(shown):
            if before.refit != after.refit:
                marks.append(Mark(before.epoch + 0.5, "refit"))
            elif before.stage != after.stage:
                marks.append(Mark(before.epoch + 0.5, f"stage {after.stage}"))
        charts = []
        score = "accuracy" if any(row.val_mean_average_precision is None for row in shown) else "mean_average_precision"
        for title, train, val in (
            (score.replace("_", " "), "accuracy", f"val_{score}"),
            ("loss", "loss", "val_loss"),
        ):
            lines = [
                Line(label, points, kind, dots=True)
                for label, column, kind in (("train, as augmented", train, "line second"), ("val", val, "line"))
                if (points := [(row.epoch, getattr(row, column)) for row in shown if getattr(row, column) is not None])
                and not (column == "accuracy" and score != "accuracy")
            ]
            values = [value for line in lines for _, value in line.points]
            if not values:
                continue
            top = 1.0 if title != "loss" else max(values) * 1.05
            ends = "; ".join(f"{line.label}: {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
            low = 0.0 if title == "loss" else max(0.0, min(values) - 0.05)
            charts.append(
                Chart(
                    title,
                    f"{title} over {counted(shown[-1].epoch, 'epoch')}. {ends}.",
                    ("epoch", title),
                    lines,
                    ((shown[0].epoch, max(shown[-1].epoch, 1)), (low, top or 1.0)),
                    marks,
                )
            )
        return charts

    def _path(self) -> list[Chart]:
        if len(self.tried) < 2:
            return []
        name = next(iter(self.tried[0]))
        try:
            rows = sorted((float(row[name]), float(row["log_loss"]), row["chosen"] == "yes") for row in self.tried)
        except ValueError:
            return []
        losses = [loss for _, loss, _ in rows]
        room = (max(losses) - min(losses)) * 0.2 or 0.1
        chosen = [Mark(value, f"chosen: {value:g}") for value, _, yes in rows if yes]
        return [
            Chart(
                f"log loss by {name}",
                f"Out-of-fold log loss of {len(rows)} values of {name}; lower is better. "
                + ", ".join(f"{value:g}: {loss:.3f}" for value, loss, _ in rows),
                (name, "log loss"),
                [Line("out of fold", [(value, loss) for value, loss, _ in rows], dots=True)],
                ((rows[0][0], rows[-1][0]), (min(losses) - room, max(losses) + room)),
                chosen,
                log=rows[0][0] > 0 and rows[-1][0] / rows[0][0] >= 10,
            )
        ]


def _epoch(row: Mapping[str, str]) -> Epoch:
    facts: dict[str, Any] = {}
    for field in fields(Epoch):
        text = row.get(field.name, "")
        if field.name == "refit":
            facts[field.name] = text == "yes"
        elif field.name in ("epoch", "stage"):
            facts[field.name] = int(text)
        else:
            facts[field.name] = float(text) if text else None
    return Epoch(**facts)
