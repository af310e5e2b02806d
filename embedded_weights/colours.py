"""Palettes of 256 colours, interpolated between two to four random ones; most are pale, some saturated."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LINE = np.linspace(0, 1, 256)
NAMES = 14
"""Number of colour classes: twelve hues, dark grey and light grey."""


def colour(random: np.random.Generator) -> NDArray[np.float32]:
    """Return one random colour, RGB from 0 to 255."""
    return _random_colours(1, random)[0]


def palette(random: np.random.Generator, contrast: float = 1.0) -> NDArray[np.uint8]:
    """Return 256 RGB colours; with low contrast all are close to the first one."""
    count = int(random.integers(2, 5))
    drawn = _random_colours(count, random)
    drawn = drawn[0] + (drawn - drawn[0]) * contrast
    line = LINE * (count - 1)
    before = np.minimum(line.astype(np.int64), count - 2)
    share = (line - before)[:, None]
    return np.clip(drawn[before] * (1 - share) + drawn[before + 1] * share, 0, 255).astype(np.uint8)


def _random_colours(count: int, random: np.random.Generator) -> NDArray[np.float32]:
    columns = random.uniform(0, 360, count), random.beta(1.2, 2.2, count), random.beta(2.0, 1.6, count)
    return cv2.cvtColor(np.stack(columns, 1)[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255


def named(mean: NDArray[np.float32]) -> int:
    """Return the colour class of a mean RGB colour."""
    hue, saturation, value = cv2.cvtColor(mean.reshape(1, 1, 3).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0, 0]
    if saturation < 0.15:
        return 12 + int(value > 0.5)
    return int(hue // 30) % 12
