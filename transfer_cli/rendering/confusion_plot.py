"""A confusion matrix as a PNG file, drawn without matplotlib, whose import takes longer than the drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.io.atomic import atomic_write
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.rendering.fonts import font_for, load_font, truncate_to_width
from transfer_cli.rendering.palette import INK, PALE_INK, WHITE, contrasting_ink
from transfer_cli.text import printable

_MOST_NAMED = 60
"""With more classes, there is no room for their names and counts."""
_SIDE, _SMALL_SIDE, _LEAST_SIDE = 44, 24, 2
_FEW = 20
_NAME = 150
"""Pixels for the name of a class."""
_GAP = 14
_FULL = np.array([31, 84, 140], float)
_GRID = (224, 227, 232)


def draw_confusion(confusion: Confusion, title: str, target: Path) -> None:
    """Draw a confusion matrix: rows are true classes, columns predicted ones, the colour is the share of the row.

    Parameters
    ----------
    confusion : Confusion
        With more than 60 classes, neither names nor counts are drawn.
    title : str
    target : Path
        A PNG file, replaced if it exists.
    """
    count = len(confusion.class_names)
    named = count <= _MOST_NAMED
    side = _SIDE if count <= _FEW else _SMALL_SIDE if named else max(_LEAST_SIDE, 1200 // count)
    size = 15 if side == _SIDE else 11
    left = top = _GAP + (_NAME if named else 0)
    top += 3 * 18
    drawing = Image.new("RGB", (max(left + count * side + _GAP, 560), top + count * side + _GAP), WHITE)
    draw = ImageDraw.Draw(drawing)
    for line, text in enumerate((title, "rows: true class; columns: predicted class", "colour: share of the row")):
        font = font_for(text, 15, bold=not line)
        shown = truncate_to_width(text, font, drawing.width - 2 * _GAP)
        draw.text((_GAP, _GAP + 18 * line), shown, fill=PALE_INK if line else INK, font=font)
    cells = _colours(confusion.counts).repeat(side, axis=0).repeat(side, axis=1)
    drawing.paste(Image.fromarray(cells), (left, top))
    if named:
        _draw_counts(draw, confusion.counts, (left, top), side, size)
        _draw_names(drawing, confusion.class_names, (left, top), side, size)
    draw.rectangle([left, top, left + count * side, top + count * side], outline=PALE_INK)
    with atomic_write(target) as draft:
        drawing.save(draft, format="PNG")


def _colours(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the colour of each cell, shape (k, k, 3)."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # A single mistake among hundreds of images must be visible, too.
    strength = np.sqrt(share)[..., None]
    return np.asarray((255 - strength * (255 - _FULL)).round(), np.uint8)


def _draw_counts(
    draw: ImageDraw.ImageDraw, counts: NDArray[np.int64], corner: tuple[int, int], side: int, size: int
) -> None:
    left, top = corner
    colours, font = _colours(counts), load_font(size)
    for row, column in np.ndindex(*counts.shape):
        x, y = left + column * side, top + row * side
        draw.rectangle([x, y, x + side, y + side], outline=_GRID)
        if counts[row, column]:
            ink = contrasting_ink(tuple(map(int, colours[row, column])))  # type: ignore[arg-type]
            text = str(counts[row, column])
            draw.text((x + side / 2, y + side / 2), text, fill=ink, font=font, anchor="mm")


def _draw_names(drawing: Image.Image, names: tuple[str, ...], corner: tuple[int, int], side: int, size: int) -> None:
    left, top = corner
    draw = ImageDraw.Draw(drawing)
    for number, name in enumerate(map(printable, names)):
        font = font_for(name, size)
        text = truncate_to_width(name, font, _NAME - 6)
        middle = number * side + side // 2
        draw.text((left - 6, top + middle), text, fill=INK, font=font, anchor="rm")
        label = Image.new("RGB", (_NAME - 6, size + 6), WHITE)
        ImageDraw.Draw(label).text((0, (size + 6) // 2), text, fill=INK, font=font, anchor="lm")
        upright = label.rotate(90, expand=True)
        drawing.paste(upright, (left + middle - (size + 6) // 2, top - 4 - upright.height))
