"""Draw the map of a run: thumbnails on a grid, framed in the colour of their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.features.grid_assignment import Grid
from transfer_cli.rendering import palette
from transfer_cli.rendering.fonts import font_for, load_font, truncate_to_width, wrap_to_width
from transfer_cli.rendering.palette import INK, NO_CLASS, Colour, class_colours

_WIDTH = 2000
_MARGIN = 40
_GAP = 3
_LARGEST_CELL = 150
_LEGEND = 100

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class Tile:
    """The colours of an image on the map.

    Attributes
    ----------
    column : int
        Index of its class; negative if it has none.
    predicted : int or None
        Index of the wrongly predicted class, negative if none was predicted; None if the prediction is correct.
    """

    column: int
    predicted: int | None = None


def thumbnail_side(grid: Grid) -> int:
    """Return the side of a thumbnail without its frame, in pixels."""
    cell = _cell(grid)
    return cell - _GAP - 2 * _frame(cell)


def draw_map(
    grid: Grid,
    tiles: Sequence[Tile],
    thumbnails: NDArray[np.uint8],
    class_names: Sequence[str],
    heading: tuple[str, str],
) -> Image.Image:
    """Draw a map.

    Parameters
    ----------
    grid : Grid
    tiles : sequence of Tile
        In the order of the grid's members.
    thumbnails : ndarray of shape (m, side, side, 3), uint8
        Their thumbnails; for `side` see `thumbnail_side`.
    class_names : sequence of str
    heading : tuple of str
        Title and subtitle.
    """
    cell = _cell(grid)
    width = max(grid.columns * cell, 1100) + 2 * _MARGIN
    head = _head(width, heading, class_names, tiles)
    drawing = Image.new("RGB", (width, head.height + grid.rows * cell + _MARGIN), "white")
    drawing.paste(head, (0, 0))
    corner = (width - grid.columns * cell) // 2, head.height
    for tile, thumbnail, (column, row) in zip(tiles, thumbnails, grid.cells.tolist(), strict=True):
        framed = swatch(cell - _GAP, *class_colours(tile.column))
        framed.paste(Image.fromarray(thumbnail), (_frame(cell), _frame(cell)))
        if tile.predicted is not None:
            _mark(framed, tile.predicted)
        drawing.paste(framed, (corner[0] + column * cell, corner[1] + row * cell))
    _draw_class_names(drawing, grid, tiles, class_names, corner, cell)
    return drawing


def _cell(grid: Grid) -> int:
    return min(_WIDTH // max(grid.columns, grid.rows), _LARGEST_CELL)


def _frame(cell: int) -> int:
    return max(3, cell // 14)


def swatch(side: int, one: Colour, other: Colour) -> Image.Image:
    """Return a square in the one or two colours of a class, divided along a diagonal."""
    drawing = Image.new("RGB", (side, side), one)
    if other != one:
        ImageDraw.Draw(drawing).polygon([(side, 0), (side, side), (0, side)], fill=other)
    return drawing


def _mark(drawing: Image.Image, column: int) -> None:
    """Draw a corner with a cross in the colour of the wrongly predicted class."""
    side, fold = drawing.width, round(drawing.width * 0.5)
    draw, (one, other) = ImageDraw.Draw(drawing), class_colours(column)
    draw.polygon([(side - fold - 3, side), (side, side - fold - 3), (side, side)], fill="white")
    draw.polygon([(side - fold, side), (side, side - fold), (side, side)], fill=one)
    if other != one:
        draw.polygon([(side - fold / 2, side - fold / 2), (side, side - fold), (side, side)], fill=other)
    middle, arm = side - fold * 0.3, fold * 0.16
    for way in (1, -1):
        line = [(middle - arm, middle - way * arm), (middle + arm, middle + way * arm)]
        draw.line(line, fill=palette.contrasting_ink(one), width=max(2, round(fold / 9)))


def _head(width: int, heading: tuple[str, str], class_names: Sequence[str], tiles: Sequence[Tile]) -> Image.Image:
    """Draw title and legend, a first time to measure their height."""
    height = 1
    for _ in range(2):
        drawing = Image.new("RGB", (width, height), "white")
        height = _write_head(drawing, heading, class_names, tiles)
    return drawing


def _write_head(
    drawing: Image.Image, heading: tuple[str, str], class_names: Sequence[str], tiles: Sequence[Tile]
) -> int:
    draw, room = ImageDraw.Draw(drawing), drawing.width - 2 * _MARGIN
    title, small = font_for(heading[0], 36, bold=True), load_font(20)
    y = 32
    for text, font, colour, height in ((heading[0], title, INK, 48), (heading[1], small, palette.PALE_INK, 28)):
        for line in wrap_to_width(text, font, room):
            draw.text((_MARGIN, y), line, fill=colour, font=font)
            y += height
        y += 4
    entries = [(swatch(24, *class_colours(number)), name) for number, name in enumerate(class_names[:_LEGEND])]
    if len(class_names) > _LEGEND:
        entries.append((swatch(24, palette.WHITE, palette.WHITE), f"and {len(class_names) - _LEGEND} more"))
    if class_names and any(tile.column < 0 for tile in tiles):
        entries.append((swatch(24, NO_CLASS, NO_CLASS), "no class"))
    if any(tile.predicted is not None for tile in tiles):
        sample = swatch(40, NO_CLASS, NO_CLASS)
        sample.paste((235, 236, 238), (4, 4, 36, 36))
        _mark(sample, 2)
        entries.append((sample, "wrong prediction: the corner has the colour of the predicted class"))
    x, y = _MARGIN, y + 16
    for sample, name in entries:
        font = font_for(name, 20)
        text = truncate_to_width(name, font, room - 40)
        needs = sample.width + 10 + round(font.getlength(text))
        if x > _MARGIN and x + needs > drawing.width - _MARGIN:
            x, y = _MARGIN, y + 44
        drawing.paste(sample, (x, y + 20 - sample.height // 2))
        draw.text((x + sample.width + 10, y + 20), text, fill=INK, font=font, anchor="lm")
        x += needs + 34
    return y + 64


def _draw_class_names(
    drawing: Image.Image,
    grid: Grid,
    tiles: Sequence[Tile],
    class_names: Sequence[str],
    corner: tuple[int, int],
    cell: int,
) -> None:
    """Write the name of each class at the centre of its images, so that the map can be read without colours."""
    draw = ImageDraw.Draw(drawing, "RGBA")
    columns = np.array([tile.column for tile in tiles])
    font_size = 26 if len(class_names) <= 30 else 18
    occupied: list[Box] = []
    present = [number for number in range(len(class_names)) if (columns == number).any()]
    for number in sorted(present, key=lambda number: -int((columns == number).sum())):
        font = font_for(class_names[number], font_size, bold=True)
        text = truncate_to_width(class_names[number], font, drawing.width / 4)
        size = font.getlength(text) + 24, font.size + 18.0
        middle = np.array(corner) + (_densest_cell(grid.cells[columns == number]) + 0.5) * cell
        box = _free_box(middle, size, occupied, (0, corner[1], *drawing.size))
        occupied.append(box)
        one, other = class_colours(number)
        draw.rounded_rectangle(box, radius=10, fill=(255, 255, 255, 225), outline=one, width=4)
        if other != one:
            inner = (box[0] + 4, box[1] + 4, box[2] - 4, box[3] - 4)
            draw.rounded_rectangle(inner, radius=7, outline=other, width=4)
        draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, fill=INK, font=font, anchor="mm")


def _densest_cell(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the cell with most other cells of its class nearby."""
    few = cells[:: max(1, len(cells) // 500)]
    distances = ((few[:, None] - few[None]) ** 2).sum(axis=2)
    return np.asarray(few[np.exp(-distances / 18).sum(axis=1).argmax()])


def _free_box(middle: NDArray[np.floating], size: tuple[float, float], occupied: Sequence[Box], within: Box) -> Box:
    """Return the box nearest to `middle` that does not overlap the boxes in `occupied`, if there is one."""
    (wide, high), (_, top, right, bottom) = size, within
    steps = sorted(product(range(-12, 13), repeat=2), key=lambda step: (step[0] ** 2 + step[1] ** 2, step))
    boxes = []
    for across, down in steps:
        left = float(np.clip(middle[0] + across * high / 2 - wide / 2, 4, max(4, right - wide - 4)))
        upper = float(np.clip(middle[1] + down * high / 2 - high / 2, top, max(top, bottom - high - 4)))
        boxes.append((left, upper, left + wide, upper + high))
        if not any(_overlap(boxes[-1], box) for box in occupied):
            return boxes[-1]
    return boxes[0]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
