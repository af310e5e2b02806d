"""Saliency maps drawn over their image, with a caption."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.rendering.fonts import font_for, wrap_to_width
from transfer_cli.rendering.png_provenance import EXPLAIN, save_signed

_MIN_OPACITY, _MAX_OPACITY = 0.2, 0.75
"""Opacity of the colours where the map is 0, and where it is 1."""
_MIN_SIDE = 224
_GAP = 4
_LINE = 18
_MARGIN = 4
_TEXT = 11
_LEGEND = "left: what the network sees; right: the brighter a region, the more it speaks for the class"


def upsampled(map_: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a map resized to the image (bilinear, pixel centres aligned)."""
    return np.asarray(cv2.resize(map_, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def overlay(image: NDArray[np.uint8], map_: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a grey image with a map over it, coloured from black through red to yellow.

    The colour map (inferno) has evenly rising lightness, so that it can be read with any colour vision.

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
    opacity = _MIN_OPACITY + (_MAX_OPACITY - _MIN_OPACITY) * heat
    return np.asarray(np.rint(opacity * colours + (1 - opacity) * grey), np.uint8)


def save_overlay(image: NDArray[np.uint8], map_: NDArray[np.float32], caption: list[str], target: Path) -> None:
    """Write the network's input, its overlay beside it, and text below them, wrapped at the width, as PNG."""
    scale = max(1, -(-_MIN_SIDE // image.shape[0]))
    enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
    side = enlarged.shape[0]
    width = 2 * side + _GAP
    lines = [line for text in (*caption, _LEGEND) for line in wrap_to_width(text, font_for(text, _TEXT), width - 4)]
    sheet = Image.new("RGB", (width, side + len(lines) * _LINE + _MARGIN), "white")
    sheet.paste(Image.fromarray(enlarged), (0, 0))
    sheet.paste(Image.fromarray(overlay(enlarged, map_)), (side + _GAP, 0))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((2, side + 2 + number * _LINE), line, "black", font=font_for(line, _TEXT))
    save_signed(sheet, target, EXPLAIN)
