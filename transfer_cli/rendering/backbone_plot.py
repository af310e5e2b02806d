"""A plot of the catalog: ImageNet accuracy of each pretrained network against its multiply-adds."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.catalog.backbones import RECOMMENDED, find, names
from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.png_provenance import BACKBONES


def plot_backbones(target: Path) -> None:
    """Plot top-1 accuracy against multiply-adds of all networks with ImageNet weights as a PNG file.

    Networks that no other one beats at the same cost are joined by a line (Pareto front), recommended ones are green.
    """
    from matplotlib.figure import Figure

    points = [(spec.multiply_adds, spec.top1, spec.name) for spec in map(find, names()) if spec.top1]
    front: list[tuple[int, float, str]] = []
    for point in sorted(points):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    figure = Figure(figsize=(12, 7), layout="constrained")
    panel = figure.subplots()
    panel.plot(
        [cost for cost, _, _ in front],
        [top1 for _, top1, _ in front],
        color="grey",
        linewidth=0.8,
        label="no other network is as accurate with fewer multiply-adds",
    )
    for cost, top1, name in points:
        panel.plot([cost], [top1], "o", color="tab:green" if name in RECOMMENDED else "tab:blue")
        below = (cost, top1, name) not in front
        panel.annotate(name, (cost, top1), (5, -9 if below else 5), textcoords="offset points", fontsize=7)
    panel.plot([], [], "o", color="tab:green", label="recommended")
    panel.set_xscale("log")
    panel.set_xlabel("multiply-adds per image")
    panel.set_ylabel("ImageNet top-1 accuracy, %")
    panel.margins(x=0.12)
    panel.legend(loc="lower right")
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": BACKBONES})
