"""Strokes of a pen: a held-out family of textures, to compare trainings.

A class is the number of strokes, their length, width and bend, and the spread of their directions.
"""

from __future__ import annotations

import colours
import cv2
import numpy as np
from numpy.typing import NDArray


def habit(random: np.random.Generator) -> NDArray[np.float64]:
    """Return a random class."""
    return random.random(6)


def drawing(formula: NDArray[np.float64], size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return one image of a class, of shape (size, size, 3)."""
    grey = np.zeros((size, size), np.uint8)
    count = int(15 * 12 ** formula[0])
    length, bend = (0.05 + 0.4 * formula[1]) * random.uniform(0.8, 1.25), (formula[2] - 0.5) * 8
    width = max(1, int(size / 96 * (1 + 4 * formula[3])))
    direction = formula[4] * np.pi + random.normal(0, 0.15)
    for _ in range(count):
        angle = direction + random.normal(0, 0.05 + 2 * formula[5] ** 2) + np.linspace(0, bend * length, 7)
        steps = np.stack([np.cos(angle), np.sin(angle)], 1) * (length / 7)
        points = (random.uniform(0, 1, 2) + np.cumsum(steps, 0)) * size
        cv2.polylines(
            grey, [np.round(points * 16).astype(np.int32)], False, int(random.integers(150, 256)), width, cv2.LINE_AA, 4
        )
    return colours.palette(random)[grey]
