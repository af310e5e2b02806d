"""Maps as a person sees them: laid over their picture, with a caption."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.rendering.palette import load_font, truncate_to_width
from transfer_cli.rendering.png_provenance import EXPLAIN, save_signed

_LEAST, _MOST = 0.2, 0.75
"""How much of the colour lies over the picture where the map is 0, and where it is 1."""
_LEAST_SIDE = 224
_GAP = 4
_LINE = 18
_MARGIN = 4


def upsampled(map_: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a map in the size of the picture, bilinearly, its cells' values in their middles."""
    return np.asarray(cv2.resize(map_, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def overlay(image: NDArray[np.uint8], map_: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture in grey with a map over it in colours from black by red to yellow.

    The colours (matplotlib's inferno) get lighter as evenly as the map rises: the colour-blind read them alike.

    Parameters
    ----------
    image : ndarray of shape (size, size, 3), uint8
    map_ : ndarray of shape (h, w), float32
        From 0 to 1, of any size.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8
    """
    heat = np.clip(upsampled(map_, image.shape[0]), 0, 1)[..., None]
    colours = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    share = _LEAST + (_MOST - _LEAST) * heat
    return np.asarray(np.rint(share * colours + (1 - share) * grey), np.uint8)


def save_overlay(image: NDArray[np.uint8], map_: NDArray[np.float32], caption: list[str], target: Path) -> None:
    """Write a picture as the network saw it, beside it the same under its map, and lines of text below them."""
    scale = max(1, -(-_LEAST_SIDE // image.shape[0]))
    cells = [image.repeat(scale, axis=0).repeat(scale, axis=1)]
    cells.append(overlay(cells[0], map_))
    side = cells[0].shape[0]
    sheet = Image.new("RGB", (2 * side + _GAP, side + len(caption) * _LINE + _MARGIN), "white")
    for number, cell in enumerate(cells):
        sheet.paste(Image.fromarray(cell), (number * (side + _GAP), 0))
    draw, font = ImageDraw.Draw(sheet), load_font(11)
    for number, line in enumerate(caption):
        text = truncate_to_width(line, font, sheet.width - 4)
        draw.text((2, side + 2 + number * _LINE), text, "black", font=font)
    save_signed(sheet, target, EXPLAIN)
