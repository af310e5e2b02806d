"""Draw a contact sheet: each query image on the left, the most similar images on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.views import View
from transfer_cli.features.feature_map_drawing import swatch
from transfer_cli.features.nearest import Neighbour
from transfer_cli.rendering.fonts import font_for, load_font, truncate_to_width
from transfer_cli.rendering.palette import INK, PALE_INK, WHITE, class_colours
from transfer_cli.rendering.png_provenance import SIMILAR, save_signed

MAX_ROWS = 200
"""Maximum number of query images on a sheet."""
_SIDE = 160
_GAP = 12
_TEXT = 46
_FRAME = 6
_INNER = _SIDE - 2 * _FRAME


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Neighbour]]],
    root: Path,
    class_names: Sequence[str],
    target: Path,
    bit_depth: int | None = None,
) -> int:
    """Draw a sheet; return the number of similar images that could not be read.

    Parameters
    ----------
    rows : sequence of (str, sequence of Neighbour)
        The path of each query image and its neighbours, nearest first; the first `MAX_ROWS` are drawn.
    root : Path
        The folder that the neighbours' paths are relative to.
    class_names : sequence of str
        They determine the colours of the frames.
    target : Path
        A PNG file.
    bit_depth : int, optional
        That of the recipe (see `View`).
    """
    rows = rows[:MAX_ROWS]
    queries = _thumbnails([path for path, _ in rows], None, bit_depth)
    paths = list(dict.fromkeys(near.row.path for _, neighbours in rows for near in neighbours))
    images = _thumbnails(paths, root, bit_depth)
    number_of = {name: number for number, name in enumerate(class_names)}
    across, down = _SIDE + _GAP, _SIDE + _TEXT
    most = max((len(neighbours) for _, neighbours in rows), default=0)
    drawing = Image.new("RGB", (_GAP + (most + 1) * across + 2 * _GAP, _GAP + len(rows) * down), "white")
    draw = ImageDraw.Draw(drawing)
    for line, (path, neighbours) in enumerate(rows):
        top = _GAP + line * down
        drawing.paste(_framed(queries.get(path), None), (_GAP, top))
        _caption(draw, _GAP, top, Path(path).name, "query")
        for place, near in enumerate(neighbours):
            left = 3 * _GAP + (place + 1) * across
            column = number_of.get(near.row.labels[0], -1) if near.row.labels else -1
            drawing.paste(_framed(images.get(near.row.path), column), (left, top))
            name = near.row.truth or ("no label" if class_names else Path(near.row.path).name)
            _caption(draw, left, top, name, f"{near.cosine:.3f}")
    # A line between the query images and the results.
    draw.line([(2 * _GAP + across, _GAP), (2 * _GAP + across, drawing.height - _GAP)], fill=(220, 222, 226), width=2)
    save_signed(drawing, target, SIMILAR)
    return len(paths) - len(images)


def _thumbnails(paths: Sequence[str], root: Path | None, bit_depth: int | None) -> dict[str, NDArray[np.uint8]]:
    read = view_batches(paths, [View(_INNER, "crop", bit_depth)], batch_size=64, root=root)
    return {path: image for batch in read for path, image in zip(batch.paths, batch.images, strict=True)}


def _framed(image: NDArray[np.uint8] | None, column: int | None) -> Image.Image:
    drawing = swatch(_SIDE, *((WHITE, WHITE) if column is None else class_colours(column)))
    inner = Image.new("RGB", (_INNER, _INNER), (214, 214, 214)) if image is None else Image.fromarray(image)
    drawing.paste(inner, (_FRAME, _FRAME))
    return drawing


def _caption(draw: ImageDraw.ImageDraw, left: int, top: int, name: str, below: str) -> None:
    bold = font_for(name, 15, bold=True)
    draw.text((left + 2, top + _SIDE + 2), truncate_to_width(name, bold, _SIDE), fill=INK, font=bold)
    draw.text((left + 2, top + _SIDE + 21), below, fill=PALE_INK, font=load_font(14))
