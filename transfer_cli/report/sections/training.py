"""Training: learning curves of a fine-tuning, or the scores of the tuned classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from transfer_cli.rendering.svg_charts import Chart, Line, Mark
from transfer_cli.report.context import ReportContext
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.sections.section import Section
from transfer_cli.text import counted


@dataclass(frozen=True)
class TrainingSection(Section):
    """The charts of the training history."""

    id = "training"
    title = "Training"
    charts: Sequence[Chart]

    @classmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section, or None if nothing was tuned or fine-tuned."""
        history = context.history
        return cls(charts_of(history)) if history.epochs or history.trials else None


def charts_of(history: TrainingHistory) -> list[Chart]:
    """Return the charts of a training history."""
    if not history.epochs:
        return _tuning_curve(history)
    curves = [("accuracy", "accuracy", "val_accuracy"), ("loss", "loss", "val_loss")]
    if all(row.val_mean_average_precision is not None for row in history.epochs):
        # The training loop measures accuracy only, which a multi-label task does not show.
        curves[0] = ("mean average precision", "", "val_mean_average_precision")
    return [chart for curve in curves if (chart := _learning_curve(history, *curve))]


def _learning_curve(history: TrainingHistory, title: str, train_column: str, val_column: str) -> Chart | None:
    epochs = history.epochs
    lines = [
        Line(label, points, kind, dots=True)
        for label, column, kind in (("train (augmented)", train_column, "line second"), ("val", val_column, "line"))
        if column and (points := [(row.epoch, value) for row in epochs if (value := getattr(row, column)) is not None])
    ]
    values = [value for line in lines for _, value in line.points]
    if not values:
        return None
    low, high = (0.0, max(values) * 1.05) if title == "loss" else (max(0.0, min(values) - 0.05), 1.0)
    ends = "; ".join(f"{line.label}: {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    return Chart(
        title,
        f"{title} over {counted(epochs[-1].epoch, 'epoch')}. {ends}.",
        ("epoch", title),
        lines,
        ((epochs[0].epoch, max(epochs[-1].epoch, 1)), (low, high or 1.0)),
        list(_marks(history)),
    )


def _marks(history: TrainingHistory) -> Iterable[Mark]:
    if history.best:
        yield Mark(history.best.epoch, f"best: epoch {history.best.epoch}")
    for before, after in pairwise(history.epochs):
        if before.refit != after.refit:
            yield Mark(before.epoch + 0.5, "refit")
        elif before.stage != after.stage:
            yield Mark(before.epoch + 0.5, f"stage {after.stage}")


def _tuning_curve(history: TrainingHistory) -> list[Chart]:
    if len(history.trials) < 2:
        return []
    name = next(iter(history.trials[0]))
    try:
        rows = sorted((float(row[name]), float(row["log_loss"]), row["chosen"] == "yes") for row in history.trials)
    except ValueError:
        return []
    losses = [loss for _, loss, _ in rows]
    margin = (max(losses) - min(losses)) * 0.2 or 0.1
    first, last = rows[0][0], rows[-1][0]
    return [
        Chart(
            f"cross-validated log loss by {name}",
            f"Cross-validated log loss for {len(rows)} values of {name}; lower is better. "
            + ", ".join(f"{value:g}: {loss:.3f}" for value, loss, _ in rows),
            (name, "log loss"),
            [Line("cross-validated", [(value, loss) for value, loss, _ in rows], dots=True)],
            ((first, last), (min(losses) - margin, max(losses) + margin)),
            [Mark(value, f"chosen: {value:g}") for value, _, chosen in rows if chosen],
            log=first > 0 and last / first >= 10,
        )
    ]
