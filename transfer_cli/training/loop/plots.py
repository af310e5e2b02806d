"""Plots of a training: images as the network sees them in the first epochs, loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.fonts import font_for
from transfer_cli.rendering.png_provenance import PREVIEW, save_signed
from transfer_cli.runs.history import Epoch
from transfer_cli.text import printable

if TYPE_CHECKING:
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

PREVIEW_ROWS = 8
_EPOCHS = 7
PREVIEW_GAP = 4
PREVIEW_TEXT = 20


def one_per_class(truth: NDArray[np.int64]) -> list[int]:
    """Return the positions of the first image of each class, or of each combination of labels, at most eight.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
    """
    _, first = np.unique(truth, return_index=True, axis=0)
    return [int(position) for position in first[:PREVIEW_ROWS]]


def draw_preview(
    rows: Sequence[tuple[int, str]], images: NDArray[np.uint8], augmented: AugmentedImages, target: Path
) -> None:
    """Draw a grid: one image per row, unchanged and then as augmented in each of the first epochs.

    Parameters
    ----------
    rows : sequence of (int, str)
        The row number of each image, and the name above it; one or more.
    images : ndarray of shape (n, size, size, 3), uint8
    augmented : AugmentedImages
    target : Path
        A PNG file. Cells are `PREVIEW_GAP` pixels apart, each row below a line of text of `PREVIEW_TEXT` pixels.
    """
    side = images.shape[1]
    across, down = side + PREVIEW_GAP, side + PREVIEW_TEXT
    grid = Image.new("RGB", ((_EPOCHS + 1) * across - PREVIEW_GAP, len(rows) * down), "white")
    draw = ImageDraw.Draw(grid)
    for number, (row, name) in enumerate(rows):
        for epoch in range(_EPOCHS + 1):
            cell = augmented(row, epoch) if epoch else images[row]
            text = f"epoch {epoch}" if epoch else f"{printable(name)}, original"
            # Pillow's own font has Latin letters alone.
            font = None if text.isascii() else font_for(text, PREVIEW_TEXT - 6)
            place = (epoch * across + 2, number * down + 2)
            draw.text(place, text, fill="black", font=font, font_size=PREVIEW_TEXT - 6)
            grid.paste(Image.fromarray(cell), (epoch * across, number * down + PREVIEW_TEXT))
    save_signed(grid, target, PREVIEW)


def draw_training_curves(history: Sequence[Epoch], best: int | None, target: Path) -> None:
    """Draw loss and accuracy over the epochs, with lines between the stages and at the best epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, metric in zip(panels, ("loss", "accuracy"), strict=True):
        for label, column in (("train, augmented images", metric), ("val", f"val_{metric}")):
            points = [(row.epoch, getattr(row, column)) for row in history if getattr(row, column) is not None]
            if points:
                panel.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3)
        for before, after in pairwise(history):
            if before.stage != after.stage:
                panel.axvline(before.epoch + 0.5, color="grey", linewidth=0.8)
        if best is not None:
            panel.axvline(best, color="green", linestyle=":", label=f"best on val: epoch {best}")
        panel.set_xlabel("epoch")
        panel.set_title(metric)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend()
    with atomic_write(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})
