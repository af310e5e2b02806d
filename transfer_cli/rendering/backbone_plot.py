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

    specs = sorted((spec for spec in map(find, names()) if spec.top1), key=lambda spec: spec.multiply_adds)
    front = []
    for spec in specs:
        if not front or (spec.top1 or 0) > (front[-1].top1 or 0):
            front.append(spec)
    figure = Figure(figsize=(12, 7), layout="constrained")
    panel = figure.subplots()
    panel.plot(
        [spec.multiply_adds for spec in front],
        [spec.top1 for spec in front],
        color="grey",
        linewidth=0.8,
        label="no other network is as accurate with fewer multiply-adds",
    )
    for spec in specs:
        colour = "tab:green" if spec.name in RECOMMENDED else "tab:blue"
        panel.plot([spec.multiply_adds], [spec.top1], "o", color=colour)
        place = {"textcoords": "offset points", "xytext": (5, -9 if spec not in front else 5)}
        panel.annotate(spec.name, (spec.multiply_adds, spec.top1), fontsize=7, **place)
    panel.plot([], [], "o", color="tab:green", label="recommended")
    panel.set_xscale("log")
    panel.set_xlabel("multiply-adds per image")
    panel.set_ylabel("ImageNet top-1 accuracy, %")
    panel.margins(x=0.12)
    panel.legend(loc="lower right")
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": BACKBONES})
