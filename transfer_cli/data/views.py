"""The input of a model: side of the square and resize method."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """Side in pixels of the square that a model gets, and how an image is resized to it."""

    size: int
    resize: str
