"""The plot of a learning curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from transfer_cli.io.atomic import atomic_write
from transfer_cli.learning_curves.results import LearningCurve
from transfer_cli.rendering.png_provenance import LEARNING_CURVE


def plot_learning_curve(curve: LearningCurve, target: Path) -> None:
    """Plot accuracy against images per class, with the power law and its 95 % interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panel = figure.subplots()
    per_class = curve.images_per_class / curve.images
    ticks = [point.images_per_class for point in curve.points]
    if curve.extrapolation and curve.forecast:
        images = np.geomspace(curve.points[0].images, curve.forecast.images, 100)
        ticks.append(curve.forecast.images * per_class)
        low, value, high = curve.extrapolation.band(images)
        panel.fill_between(images * per_class, low, high, color="tab:blue", alpha=0.15, linewidth=0)
        panel.plot(images * per_class, value, color="tab:blue", linewidth=1, label="power law, 95 % interval")
        panel.axvline(curve.images_per_class, color="grey", linestyle=":", label="all images outside the test set")
    for point in curve.points:
        low_high = [point.accuracy["low"] or 0.0, point.accuracy["high"] or 1.0]
        panel.plot([point.images_per_class] * 2, low_high, "-_", color="black")
    values = [point.accuracy["value"] for point in curve.points]
    panel.plot(ticks[: len(values)], values, "o", color="black", label="cross-validated, 95 % interval")
    panel.set_xscale("log")
    panel.minorticks_off()
    panel.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    panel.set_xlabel("training images per class")
    panel.set_ylabel("accuracy")
    panel.legend(loc="lower right")
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": LEARNING_CURVE})
