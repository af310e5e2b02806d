"""The training curves of several runs, one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfer_cli.errors import RunError
from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.png_provenance import COMPARE
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.history import Epoch, read_epochs
from transfer_cli.text import printable

_PANELS = {"loss": "loss on the training images", "val_loss": "loss on val", "val_accuracy": "accuracy on val"}


def draw_curves_of_runs(names: Sequence[str], runs: Sequence[FinishedRun], target: Path) -> None:
    """Draw loss and validation accuracy over the epochs of several fine-tuned runs as a PNG file.

    A run without epochs, as of extract, is a horizontal line at its validation accuracy, to compare by.

    Parameters
    ----------
    names : sequence of str
        Of the runs, for the legend.
    runs : sequence of FinishedRun
    target : Path

    Raises
    ------
    RunError
        If no run has epochs.
    """
    epochs = [_epochs_of(run) for run in runs]
    if not any(epochs):
        raise RunError(
            f"None of these runs has training curves: {', '.join(names)}.",
            hint="Only finetune trains in epochs. Give at least one run that it wrote.",
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    for panel, (column, title) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        for number, (name, run, rows) in enumerate(zip(names, runs, epochs, strict=True)):
            colour, label = f"C{number % 10}", printable(name)
            points = [(row.epoch, value) for row in rows if (value := getattr(row, column)) is not None]
            if points:
                panel.plot(*zip(*points, strict=True), label=label, color=colour, marker="o", markersize=3)
            elif column == "val_accuracy" and (accuracy := run.metrics.get("val", {}).get("accuracy")):
                panel.axhline(accuracy["value"], label=f"{label} (no epochs)", color=colour, linestyle="--")
        panel.set_xlabel("epoch")
        panel.set_title(title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(fontsize=8)
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": COMPARE})


def _epochs_of(run: FinishedRun) -> tuple[Epoch, ...]:
    path = run.directory.history
    return read_epochs(path) if run.recipe.get("method") == "finetune" and path.is_file() else ()
