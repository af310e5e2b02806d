"""What a picture looks like place by place: how much of it the shape takes, its colour, and how edges run.

A class is little to learn from a whole picture, and a small network needs hundreds of thousands of pictures before
it finds any; these are dense. Edges are histograms of oriented gradients (Dalal and Triggs, CVPR 2005), which Wei et
al. ("Masked Feature Prediction", CVPR 2022) found good to learn from. That the picture is known before it is spoilt,
and which part of it is the shape, is the gift of formulas.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 16
"""Pixels of the picture for one place."""
FINE = 3
"""A place is parted so often in each direction to say where the shape is."""
DIRECTIONS = 8
PLACES = {"mask": FINE**2, "layout": 3, "edges": DIRECTIONS + 1, "outline": DIRECTIONS + 1}
"""How many numbers are said of each place."""


def mask(where: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much of each part of each place the shape takes, 0 to 1."""
    count = len(where) // STRIDE
    fine = cv2.resize(where, (count * FINE, count * FINE), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    return fine.reshape(count, FINE, count, FINE).transpose(0, 2, 1, 3).reshape(count, count, FINE**2)


def layout(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean colour of each place, -1 to 1."""
    count = len(image) // STRIDE
    return cv2.resize(image, (count, count), interpolation=cv2.INTER_AREA) * np.float32(1 / 127.5) - 1


def edges(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return for each place how the strength of its edges is shared by the directions, and how strong they are."""
    count = len(grey) // STRIDE
    along, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, angle = cv2.cartToPolar(along, down)
    direction = (angle * (DIRECTIONS / np.pi)).astype(np.int32) % DIRECTIONS
    sums = np.bincount((_places(len(grey)) + direction).ravel(), strength.ravel(), count**2 * DIRECTIONS)
    sums = sums.reshape(count, count, DIRECTIONS).astype(np.float32) / STRIDE**2
    whole = sums.sum(-1, keepdims=True)
    return np.concatenate([2 * np.sqrt(sums / (whole + 8)), 0.3 * np.log1p(whole)], -1)


@cache
def _places(size: int) -> NDArray[np.int32]:
    line = np.arange(size) // STRIDE
    return ((line[:, None] * (size // STRIDE) + line) * DIRECTIONS).astype(np.int32)
