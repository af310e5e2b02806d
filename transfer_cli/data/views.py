"""How a model sees an image: side and resize method."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """As what a model sees a picture: the side of the square in pixels, and how the picture becomes one."""

    size: int
    resize: str
