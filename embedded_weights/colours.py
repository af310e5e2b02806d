"""Palettes: 256 colours between two to four that are drawn by chance, many of them pale, some strong."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LINE = np.linspace(0, 1, 256)
NAMES = 14
"""Classes of colour: twelve hues, dark grey and light grey."""


def colour(random: np.random.Generator) -> NDArray[np.float32]:
    """Return one colour, RGB from 0 to 255."""
    return _drawn(1, random)[0]


def palette(random: np.random.Generator, contrast: float = 1.0) -> NDArray[np.uint8]:
    """Return 256 colours in a row; with little contrast they lie near the first."""
    count = int(random.integers(2, 5))
    drawn = _drawn(count, random)
    drawn = drawn[0] + (drawn - drawn[0]) * contrast
    line = LINE * (count - 1)
    before = np.minimum(line.astype(np.int64), count - 2)
    share = (line - before)[:, None]
    return np.clip(drawn[before] * (1 - share) + drawn[before + 1] * share, 0, 255).astype(np.uint8)


def _drawn(count: int, random: np.random.Generator) -> NDArray[np.float32]:
    columns = random.uniform(0, 360, count), random.beta(1.2, 2.2, count), random.beta(2.0, 1.6, count)
    return cv2.cvtColor(np.stack(columns, 1)[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255


def named(mean: NDArray[np.float32]) -> int:
    """Return the class of a mean colour."""
    hue, saturation, value = cv2.cvtColor(mean.reshape(1, 1, 3).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0, 0]
    if saturation < 0.15:
        return 12 + int(value > 0.5)
    return int(hue // 30) % 12
