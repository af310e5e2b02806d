"""The preview: images as the network sees them in the first epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.png_provenance import made_by
from transfer_cli.text import printable

if TYPE_CHECKING:
    from transfer_cli.training.augmentation.augmented_images import AugmentedImages

PREVIEW_ROWS = 8
_EPOCHS = 7
_SIGNATURE = "transfer-cli preview"
PREVIEW_GAP = 4
PREVIEW_TEXT = 20


@dataclass(frozen=True)
class PreviewRow:
    """A row of the preview: the row number of its image, and the name above it."""

    row: int
    name: str


def one_per_class(truth: NDArray[np.int64]) -> list[int]:
    """Return the positions of the first image of each class, or of each combination of labels, at most eight.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
    """
    _, first = np.unique(truth, return_index=True, axis=0)
    return [int(position) for position in first[:PREVIEW_ROWS]]


def draw_preview(
    rows: Sequence[PreviewRow], images: NDArray[np.uint8], augmented: AugmentedImages, target: Path
) -> None:
    """Draw a grid: one image per row, unchanged and then as augmented in each of the first epochs.

    Parameters
    ----------
    rows : sequence of PreviewRow
        One or more.
    images : ndarray of shape (n, size, size, 3), uint8
    augmented : AugmentedImages
    target : Path
        A PNG file. Cells are `PREVIEW_GAP` pixels apart, each row below a line of text of `PREVIEW_TEXT` pixels.
    """
    side = images.shape[1]
    across, down = side + PREVIEW_GAP, side + PREVIEW_TEXT
    grid = Image.new("RGB", ((_EPOCHS + 1) * across - PREVIEW_GAP, len(rows) * down), "white")
    draw = ImageDraw.Draw(grid)
    for number, row in enumerate(rows):
        for epoch in range(_EPOCHS + 1):
            cell = augmented(row.row, epoch) if epoch else images[row.row]
            text = f"epoch {epoch}" if epoch else f"{printable(row.name)}, original"
            draw.text((epoch * across + 2, number * down + 2), text, fill="black", font_size=PREVIEW_TEXT - 6)
            grid.paste(Image.fromarray(cell), (epoch * across, number * down + PREVIEW_TEXT))
    info = PngInfo()
    info.add_text("Software", _SIGNATURE)
    with atomic_write(target) as draft:
        grid.save(draft, pnginfo=info)


def is_preview(path: Path) -> bool:
    """Return whether a file was drawn by `draw_preview`, so that it may be replaced."""
    return made_by(path) == _SIGNATURE
