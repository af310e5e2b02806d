"""The plot of a ranking of layers: scores by depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transfer_cli.io.atomic import atomic_write
from transfer_cli.ranking.layer_results import LayerRanking
from transfer_cli.rendering.png_provenance import RANK_LAYERS
from transfer_cli.text import printable


def plot_layers(ranking: LayerRanking, target: Path) -> None:
    """Plot log loss and accuracy against depth, with 95 % intervals of accuracy and the scores of the joined levels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True)
    losses = [each.score.log_loss for each in ranking.depths]
    _plot_by_depth(top, ranking, losses, ranking.joined.log_loss)
    accuracies = [each.score.accuracy for each in ranking.depths]
    _plot_by_depth(below, ranking, [each["value"] for each in accuracies], ranking.joined.accuracy["value"])
    low, high = ([each[bound] for each in accuracies] for bound in ("low", "high"))
    below.fill_between(_numbers(ranking), low, high, color="tab:blue", alpha=0.15, linewidth=0)
    top.set_title(printable(f"{ranking.backbone}: best single layer {ranking.best.depth.layer}"), fontsize=10)
    top.set_ylabel("log loss, lower is better")
    below.set_ylabel("accuracy, 95 % interval")
    below.set_xlabel("number of layers with a kernel, from the images to the top")
    top.legend(fontsize=8)
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": RANK_LAYERS})


def _numbers(ranking: LayerRanking) -> list[int]:
    return [each.depth.number for each in ranking.depths]


def _plot_by_depth(panel: Any, ranking: LayerRanking, values: list[float], joined: float) -> None:
    numbers = _numbers(ranking)
    panel.plot(numbers, values, ".-", color="tab:blue", linewidth=1, label="one layer")
    levels = [place for place, each in enumerate(ranking.depths) if each.depth.is_level]
    of_levels = [numbers[place] for place in levels], [values[place] for place in levels]
    panel.plot(*of_levels, "o", color="tab:blue", label="level: last layer of its resolution")
    best = ranking.depths.index(ranking.best)
    panel.plot(numbers[best], values[best], "o", color="tab:red", label="lowest log loss")
    panel.axhline(joined, color="tab:green", linestyle="--", label="joined levels")
