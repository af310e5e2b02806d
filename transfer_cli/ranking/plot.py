"""The plot of a ranking: score against cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transfer_cli.io.atomic import written_whole
from transfer_cli.ranking.results import COSTS, LOGME, Ranking
from transfer_cli.text import printable


def pareto(ranking: Ranking, target: Path) -> None:
    """Draw what candidates are worth over what they cost, in time and in size, and join those that none dominates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    scored = [row for row in ranking.rows if row.score(ranking.by) is not None]
    for panel, cost, label in zip(panels, COSTS, ("milliseconds a picture", "MB of weights"), strict=True):
        front = ranking.front(cost)
        costs = [value for row in scored if (value := getattr(row, cost)) is not None]
        middle = np.sqrt(min(costs) * max(costs)) if costs else 0.0
        for row in scored:
            at, worth = getattr(row, cost), row.score(ranking.by)
            if at is None or worth is None:
                continue
            alike = row.candidate in ranking.within_noise
            colour = "lightgrey" if row.left_out else "tab:green" if alike else "tab:blue"
            panel.plot([at], [worth], "o", color=colour, zorder=3)
            # Towards the middle, where there is room.
            side, aligned = (-4, "right") if at > middle else (4, "left")
            panel.annotate(
                printable(row.name), (at, worth), (side, 5), textcoords="offset points", fontsize=8, ha=aligned
            )
        joined = sorted((getattr(row, cost), row.score(ranking.by)) for row in scored if row.candidate in front)
        if joined:
            panel.step(*zip(*joined, strict=True), where="post", color="grey", linewidth=0.8, label="Pareto front")
        panel.set_xscale("log")
        for axis in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
            axis(lambda value, place: f"{value:.2g}")
        panel.margins(x=0.1, y=0.12)
        panel.set_xlabel(label)
    panels[0].set_ylabel("LogME" if ranking.by == LOGME else "log loss, lower is better")
    if ranking.by != LOGME:
        # The better ones are above, and the figures are those of the table.
        panels[0].yaxis.set_major_formatter(lambda value, place: f"{abs(value):.3g}")
    if ranking.within_noise:
        panels[1].plot([], [], "o", color="tab:green", label="as many right as the best")
    if panels[1].get_legend_handles_labels()[1]:
        panels[1].legend(fontsize=8, loc="center right")
    with written_whole(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})
