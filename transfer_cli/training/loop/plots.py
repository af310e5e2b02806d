"""Pictures for a person: the curves of a training, and what the network sees of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from transfer_cli.io.atomic import written_whole
from transfer_cli.rendering.png_provenance import made_by
from transfer_cli.runs.history import Epoch
from transfer_cli.text import printable

if TYPE_CHECKING:
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

PREVIEW_ROWS = 8
_EPOCHS = 7
_SIGNATURE = "transfer-cli preview"
PREVIEW_GAP = 4
PREVIEW_TEXT = 20


def curves(history: Sequence[Epoch], best: int | None, target: Path) -> None:
    """Draw loss and accuracy over the epochs, the stages parted and the best epoch marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, title, train, val in zip(
        panels, ("loss", "accuracy"), ("loss", "accuracy"), ("val_loss", "val_accuracy"), strict=True
    ):
        for label, column in (("train, as augmented", train), ("val", val)):
            points = [(row.epoch, getattr(row, column)) for row in history if getattr(row, column) is not None]
            if points:
                panel.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3)
        for before, after in pairwise(history):
            if before.stage != after.stage:
                panel.axvline(before.epoch + 0.5, color="grey", linewidth=0.8)
        if best is not None:
            panel.axvline(best, color="green", linestyle=":", label=f"best on val: epoch {best}")
        panel.set_xlabel("epoch")
        panel.set_title(title)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend()
    with written_whole(target) as draft:
        figure.savefig(draft, dpi=110, metadata={"Software": None})


def one_of_each(truth: NDArray[np.int64]) -> list[int]:
    """Return the positions of the first picture of each class, or of each mixture of labels, eight at most.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
    """
    _, first = np.unique(truth, return_index=True, axis=0)
    return [int(position) for position in first[:PREVIEW_ROWS]]


@dataclass(frozen=True)
class Seen:
    """A picture to draw: its row among the pictures, and what it is called."""

    row: int
    name: str


def preview(chosen: Sequence[Seen], images: NDArray[np.uint8], shown: AugmentedImages, target: Path) -> None:
    """Draw a grid of what the network sees: a picture a row, as it is and then in each of the first epochs.

    Parameters
    ----------
    chosen : sequence of Seen
        One or more.
    images : ndarray of shape (n, size, size, 3), uint8
    shown : Shown
    target : Path
        A PNG file. Cells lie `PREVIEW_GAP` apart, each row below a line of text of `PREVIEW_TEXT` pixels.
    """
    side = images.shape[1]
    across, down = side + PREVIEW_GAP, side + PREVIEW_TEXT
    grid = Image.new("RGB", ((_EPOCHS + 1) * across - PREVIEW_GAP, len(chosen) * down), "white")
    draw = ImageDraw.Draw(grid)
    for row, seen in enumerate(chosen):
        for epoch in range(_EPOCHS + 1):
            cell = shown(seen.row, epoch) if epoch else images[seen.row]
            text = f"epoch {epoch}" if epoch else f"{printable(seen.name)}, as it is"
            draw.text((epoch * across + 2, row * down + 2), text, fill="black", font_size=PREVIEW_TEXT - 6)
            grid.paste(Image.fromarray(cell), (epoch * across, row * down + PREVIEW_TEXT))
    with written_whole(target) as draft:
        grid.save(draft, pnginfo=_signed())


def is_preview(path: Path) -> bool:
    """Return whether a file is one that `preview` drew, and not a person's picture."""
    return made_by(path) == _SIGNATURE


def _signed() -> PngInfo:
    info = PngInfo()
    info.add_text("Software", _SIGNATURE)
    return info
