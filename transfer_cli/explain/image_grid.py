"""A grid of images, each with two lines of text below it, as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.rendering.fonts import font_for, truncate_to_width
from transfer_cli.rendering.palette import INK, PALE_INK, WHITE
from transfer_cli.rendering.png_provenance import INSPECT, save_signed

_MIN_SIDE = 128
_GAP = 10
_TEXT = 38


@dataclass(frozen=True)
class Cell:
    """An image of shape (h, w, 3), uint8, its title, and the line below the title."""

    image: NDArray[np.uint8]
    title: str
    below: str


def save_grid(cells: Sequence[Cell], columns: int, target: Path) -> None:
    """Draw cells row by row; small images are enlarged by whole numbers."""
    columns = min(columns, len(cells))
    side = max(max(cell.image.shape[:2]) for cell in cells)
    side *= max(1, -(-_MIN_SIDE // side))
    across, down = side + _GAP, side + _TEXT + _GAP
    drawing = Image.new("RGB", (_GAP + columns * across, _GAP + -(-len(cells) // columns) * down), WHITE)
    draw = ImageDraw.Draw(drawing)
    for number, cell in enumerate(cells):
        left, top = _GAP + number % columns * across, _GAP + number // columns * down
        scale = max(1, side // max(cell.image.shape[:2]))
        drawing.paste(Image.fromarray(cell.image.repeat(scale, axis=0).repeat(scale, axis=1)), (left, top))
        for line, text in enumerate((cell.title, cell.below)):
            font = font_for(text, 12, bold=not line)
            shown = truncate_to_width(text, font, side)
            draw.text((left, top + side + 3 + 17 * line), shown, fill=PALE_INK if line else INK, font=font)
    save_signed(drawing, target, INSPECT)
