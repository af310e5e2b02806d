"""The plot of a learning-rate sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfer_cli.io.atomic import written_whole
from transfer_cli.rendering.png_provenance import made_by

_SWEEP_SIGNATURE = "transfer-cli lr-find"


def sweep(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marked: tuple[float | None, float | None],
    target: Path,
) -> None:
    """Draw the loss over the learning rate, and mark where it falls fastest and which rate is suggested."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    panel.plot(rates, losses, label="loss of each step", color="lightgrey")
    panel.plot(rates, smoothed, label="smoothed")
    for rate, label, style in zip(marked, ("falls fastest", "suggested"), (":", "-"), strict=True):
        if rate is not None:
            panel.axvline(rate, color="green", linestyle=style, label=f"{label}: {rate:.2g}")
    if smoothed:
        # The end, which grows without bound, must not flatten the rest.
        low, start = min(smoothed), max(smoothed[: max(len(smoothed) // 3, 1)])
        panel.set_ylim(low - 0.3 * (start - low) - 1e-3, start + (start - low) + 1e-3)
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    panel.legend()
    with written_whole(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": _SWEEP_SIGNATURE})


def is_sweep(path: Path) -> bool:
    """Return whether a file is one that `sweep` drew, and not a person's picture."""
    return made_by(path) == _SWEEP_SIGNATURE
