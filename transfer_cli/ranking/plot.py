"""The plot of a ranking: score against cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transfer_cli.io.atomic import atomic_write
from transfer_cli.ranking.options import LOGME
from transfer_cli.ranking.results import COSTS, Ranking
from transfer_cli.text import printable


def plot_pareto(ranking: Ranking, target: Path) -> None:
    """Plot score against cost (time and size) of all candidates, with the Pareto fronts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    scored = [row for row in ranking.rows if row.score(ranking.by) is not None]
    for panel, cost, label in zip(panels, COSTS, ("ms/image", "weights, MB"), strict=True):
        front = ranking.front(cost)
        costs = [value for row in scored if (value := getattr(row, cost)) is not None]
        middle = np.sqrt(min(costs) * max(costs)) if costs else 0.0
        for row in scored:
            x, y = getattr(row, cost), row.score(ranking.by)
            if x is None or y is None:
                continue
            is_equal = row.candidate in ranking.within_noise
            colour = "lightgrey" if row.left_out else "tab:green" if is_equal else "tab:blue"
            panel.plot([x], [y], "o", color=colour, zorder=3)
            # The text points towards the middle, where there is room.
            side, aligned = (-4, "right") if x > middle else (4, "left")
            panel.annotate(printable(row.name), (x, y), (side, 5), textcoords="offset points", fontsize=8, ha=aligned)
        points = sorted((getattr(row, cost), row.score(ranking.by)) for row in scored if row.candidate in front)
        if points:
            panel.step(*zip(*points, strict=True), where="post", color="grey", linewidth=0.8, label="Pareto front")
        panel.set_xscale("log")
        for axis in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
            axis(lambda value, place: f"{value:.2g}")
        panel.margins(x=0.1, y=0.12)
        panel.set_xlabel(label)
    panels[0].set_ylabel("LogME" if ranking.by == LOGME else "log loss, lower is better")
    if ranking.by != LOGME:
        # The score is the negated log loss, so that better ones are above; the labels show the log loss.
        panels[0].yaxis.set_major_formatter(lambda value, place: f"{abs(value):.3g}")
    if ranking.within_noise:
        panels[1].plot([], [], "o", color="tab:green", label="not significantly worse than the best")
    if panels[1].get_legend_handles_labels()[1]:
        panels[1].legend(fontsize=8, loc="center right")
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})
