"""The plot of a learning rate range test."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.png_provenance import made_by
from transfer_cli.training.sweep import Sweep

_SIGNATURE = "transfer-cli lr-find"


def draw_sweep(sweep: Sweep, target: Path) -> None:
    """Draw the loss over the learning rate, and mark the steepest decrease and the suggested rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    panel.plot(sweep.rates, sweep.losses, label="loss of each step", color="lightgrey")
    panel.plot(sweep.rates, sweep.smoothed, label="smoothed loss")
    for rate, label, style in ((sweep.steepest, "steepest decrease", ":"), (sweep.suggestion, "suggested", "-")):
        if rate is not None:
            panel.axvline(rate, color="green", linestyle=style, label=f"{label}: {rate:.2g}")
    if smoothed := sweep.smoothed:
        # The divergence at the end must not flatten the rest.
        low, start = min(smoothed), max(smoothed[: max(len(smoothed) // 3, 1)])
        panel.set_ylim(low - 0.3 * (start - low) - 1e-3, start + (start - low) + 1e-3)
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    panel.legend()
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": _SIGNATURE})


def is_sweep_plot(path: Path) -> bool:
    """Return whether `draw_sweep` drew a file, so that it may be replaced."""
    return made_by(path) == _SIGNATURE
