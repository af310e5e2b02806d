"""The input of a model: side of the square and resize method."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """Side in pixels of the square that a model gets, how an image is resized to it, and the bits of deep samples.

    `bit_depth` is the number of lowest bits that 16-bit samples use if their file declares no narrower range; None: 16.
    """

    size: int
    resize: str
    bit_depth: int | None = None
