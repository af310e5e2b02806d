"""The result of a learning rate range test: the loss at each learning rate, and the rate that it suggests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.png_provenance import LR_FIND

SMOOTHING = 0.8
"""Momentum of the moving average of the loss.

The 0.98 of fastai averages over half of a hundred steps, and finds a minimum long after it: see docs/benchmarks.md.
"""
DIVERGENCE = 4.0
"""A sweep ends when the smoothed loss exceeds its minimum by this factor."""
BELOW_LOWEST = {True: 2.0, False: 10.0}
"""The rate with the lowest loss is divided by this; True: the schedule of the stage ends at zero."""
MIN_DECREASE = 0.01
"""A smaller relative decrease of the loss means that nothing was trained."""


@dataclass(frozen=True)
class Sweep:
    """The losses of a sweep over learning rates, and what they suggest.

    Attributes
    ----------
    rates, losses, smoothed : tuple of float
        Of each step. The difficulty of the batch is subtracted from the losses; the other values are computed from the
        smoothed ones.
    ended : {"diverged", "not finite", "highest rate"}
        Why there are no more steps.
    steepest : float or None
        The rate at which the smoothed loss decreases fastest over the logarithm of the rate; None if nothing was
        trained.
    suggestion : float or None
        Some way below the rate with the lowest smoothed loss; None if nothing was trained.
    start, lowest : float
        The smoothed loss at rates that are too low to train, and its minimum.
    with_other_seed : float or None
        The suggestion of a second sweep with another seed; None if there was none, or nothing was trained in it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str
    steepest: float | None
    suggestion: float | None
    start: float
    lowest: float
    with_other_seed: float | None = None

    def seeds_summary(self) -> str | None:
        """Return one line on how far apart the suggestions of two seeds are, or None if there was one sweep."""
        if self.suggestion is None or self.with_other_seed is None:
            return None
        ratio = max(self.suggestion, self.with_other_seed) / min(self.suggestion, self.with_other_seed)
        return (
            f"with another seed the suggestion is {self.with_other_seed:.2g}, a factor of {ratio:.2g} apart: on so few "
            "images take it as an order of magnitude"
        )


def read_sweep(
    rates: Sequence[float], losses: Sequence[float], untrained: Sequence[float], below: float = BELOW_LOWEST[False]
) -> Sweep:
    """Return what the losses of a sweep suggest.

    At the rate with the lowest loss, the loss is about to increase. For a constant rate, a tenth of it is suggested. A
    schedule with warm-up that ends at zero is near its highest rate for a short time only, and may be closer to it.
    The loss of the untrained network on the same batch is subtracted, since some batches are harder than others.

    Parameters
    ----------
    rates : sequence of float
        Increasing exponentially.
    losses : sequence of float
        Of each step; the last may not be finite.
    untrained : sequence of float
        Losses of the initial weights on the same batches.
    below : float
        Divisor of the rate with the lowest loss.

    References
    ----------
    Gugger 2018, "How do you find a good learning rate".
    """
    count, ended = len(losses), "highest rate"
    if count and not math.isfinite(losses[-1]):
        count, ended = count - 1, "not finite"
    if ended == "highest rate" and diverged(smooth(losses)):
        ended = "diverged"
    usual = float(np.mean(untrained[:count])) if count else math.nan
    own = [loss - before + usual for loss, before in zip(losses[:count], untrained, strict=False)]
    smoothed = smooth(own)
    if count < 3:
        return Sweep(tuple(rates[:count]), tuple(own), tuple(smoothed), ended, None, None, math.nan, math.nan)
    values = np.array(smoothed)
    # The first third is at rates too low to train.
    start = float(np.mean(own[: max(count // 3, 2)]))
    low = int(values.argmin())
    steepest = suggestion = None
    if start - values[low] > MIN_DECREASE * start and low:
        slopes = np.gradient(values[: low + 1], np.log(rates[: low + 1]))
        steepest, suggestion = float(rates[int(slopes.argmin())]), float(rates[low]) / below
    floats = tuple(map(float, rates[:count]))
    return Sweep(floats, tuple(own), tuple(smoothed), ended, steepest, suggestion, start, float(values[low]))


def smooth(losses: Sequence[float]) -> list[float]:
    """Return the moving average of losses without the bias of its start at zero (Kingma and Ba 2015, section 3)."""
    averages, average = [], 0.0
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages.append(average / (1 - SMOOTHING**step))
    return averages


def diverged(smoothed: Sequence[float]) -> bool:
    """Return whether the last smoothed loss is far above the lowest."""
    return len(smoothed) > 1 and smoothed[-1] > DIVERGENCE * min(smoothed)


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
        figure.savefig(draft, dpi=110, metadata={"Software": LR_FIND})
