"""A contact sheet: each picture to the left, those that are most like it to the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.data.decoding import batches
from transfer_cli.features.nearest import Neighbour
from transfer_cli.rendering.palette import Colour, colours_of, fitting, letters
from transfer_cli.rendering.png_provenance import SIMILAR, save_signed

ROWS = 200
"""No sheet has more."""
_SIDE = 160
_GAP = 12
_TEXT = 46
_FRAME = 6
_INK: Colour = (40, 42, 48)
_PALE: Colour = (110, 114, 122)


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Neighbour]]], root: Path, class_names: Sequence[str], target: Path
) -> int:
    """Draw a sheet; return how many of the neighbours' files could not be read.

    Parameters
    ----------
    rows : sequence of (str, sequence of Neighbour)
        The path of each picture and its neighbours, nearest first; the first `ROWS` of them are drawn.
    root : Path
        What the neighbours' paths are relative to.
    class_names : sequence of str
        They give the frames their colours.
    target : Path
        A PNG file.
    """
    rows = rows[:ROWS]
    queries = _squares([path for path, _ in rows], None)
    paths = list(dict.fromkeys(near.row.path for _, found in rows for near in found))
    images = _squares(paths, root)
    number_of = {name: number for number, name in enumerate(class_names)}
    across, down = _SIDE + _GAP, _SIDE + _TEXT
    most = max((len(found) for _, found in rows), default=0)
    drawing = Image.new("RGB", (_GAP + (most + 1) * across + 2 * _GAP, _GAP + len(rows) * down), "white")
    draw = ImageDraw.Draw(drawing)
    for line, (path, found) in enumerate(rows):
        top = _GAP + line * down
        drawing.paste(_framed(queries.get(path), None), (_GAP, top))
        _write(draw, _GAP, top, Path(path).name, "the picture")
        for place, near in enumerate(found):
            left = 3 * _GAP + (place + 1) * across
            column = number_of.get(near.row.labels[0], -1) if near.row.labels else -1
            drawing.paste(_framed(images.get(near.row.path), column), (left, top))
            _write(draw, left, top, near.row.truth or "no label", f"{near.cosine:.3f}")
    # A line between the pictures and what is like them.
    draw.line([(2 * _GAP + across, _GAP), (2 * _GAP + across, drawing.height - _GAP)], fill=(220, 222, 226), width=2)
    save_signed(drawing, target, SIMILAR)
    return len(paths) - len(images)


def _squares(paths: Sequence[str], root: Path | None) -> dict[str, NDArray[np.uint8]]:
    side = _SIDE - 2 * _FRAME
    found: dict[str, NDArray[np.uint8]] = {}
    for batch in batches(paths, size=side, resize="crop", batch_size=64, root=root):
        found.update(zip(batch.paths, batch.images, strict=True))
    return found


def _framed(image: NDArray[np.uint8] | None, column: int | None) -> Image.Image:
    one, other = ((255, 255, 255),) * 2 if column is None else colours_of(column)
    drawing = Image.new("RGB", (_SIDE, _SIDE), one)
    if other != one:
        ImageDraw.Draw(drawing).polygon([(_SIDE, 0), (_SIDE, _SIDE), (0, _SIDE)], fill=other)
    inner = _SIDE - 2 * _FRAME
    drawing.paste(Image.new("RGB", (inner, inner), (214, 214, 214)), (_FRAME, _FRAME))
    if image is not None:
        drawing.paste(Image.fromarray(image), (_FRAME, _FRAME))
    return drawing


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, name: str, below: str) -> None:
    bold, plain = letters(15, bold=True), letters(14)
    draw.text((left + 2, top + _SIDE + 2), fitting(name, bold, _SIDE), fill=_INK, font=bold)
    draw.text((left + 2, top + _SIDE + 21), below, fill=_PALE, font=plain)
