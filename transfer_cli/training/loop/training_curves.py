"""The plot of a training: loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from transfer_cli.io.atomic import atomic_write
from transfer_cli.runs.history import Epoch


def draw_training_curves(history: Sequence[Epoch], best: int | None, target: Path) -> None:
    """Draw loss and accuracy over the epochs, with lines between the stages and at the best epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, metric in zip(panels, ("loss", "accuracy"), strict=True):
        for label, column in (("train, augmented images", metric), ("val", f"val_{metric}")):
            points = [(row.epoch, getattr(row, column)) for row in history if getattr(row, column) is not None]
            if points:
                panel.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3)
        for before, after in pairwise(history):
            if before.stage != after.stage:
                panel.axvline(before.epoch + 0.5, color="grey", linewidth=0.8)
        if best is not None:
            panel.axvline(best, color="green", linestyle=":", label=f"best on val: epoch {best}")
        panel.set_xlabel("epoch")
        panel.set_title(metric)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend()
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})
