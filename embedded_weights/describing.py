"""Dense labels: mask of the shape, mean colour and edge orientations, per position.

One class label per image is a weak signal: a small network needs hundreds of thousands of images before the loss falls.
Dense labels are known exactly for synthetic images, also for the image before it is degraded. Edges are histograms of
oriented gradients (Dalal and Triggs, CVPR 2005), good training targets according to Wei et al. ("Masked Feature
Prediction", CVPR 2022).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 16
"""Side of one position, in pixels."""
FINE = 3
"""Each position is divided into FINE x FINE cells for the mask."""
DIRECTIONS = 8
PLACES = {"mask": FINE**2, "layout": 3, "edges": DIRECTIONS + 1, "outline": DIRECTIONS + 1}
"""Number of values per position."""


def mask(where: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of the shape in each cell of each position, 0 to 1."""
    count = len(where) // STRIDE
    fine = cv2.resize(where, (count * FINE, count * FINE), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    return fine.reshape(count, FINE, count, FINE).transpose(0, 2, 1, 3).reshape(count, count, FINE**2)


def layout(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean colour of each position, -1 to 1."""
    count = len(image) // STRIDE
    return cv2.resize(image, (count, count), interpolation=cv2.INTER_AREA) * np.float32(1 / 127.5) - 1


def edges(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a histogram of edge directions and the total edge strength, per position."""
    count = len(grey) // STRIDE
    along, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, angle = cv2.cartToPolar(along, down)
    direction = (angle * (DIRECTIONS / np.pi)).astype(np.int32) % DIRECTIONS
    sums = np.bincount((_cell_offsets(len(grey)) + direction).ravel(), strength.ravel(), count**2 * DIRECTIONS)
    sums = sums.reshape(count, count, DIRECTIONS).astype(np.float32) / STRIDE**2
    whole = sums.sum(-1, keepdims=True)
    return np.concatenate([2 * np.sqrt(sums / (whole + 8)), 0.3 * np.log1p(whole)], -1)


@cache
def _cell_offsets(size: int) -> NDArray[np.int32]:
    line = np.arange(size) // STRIDE
    return ((line[:, None] * (size // STRIDE) + line) * DIRECTIONS).astype(np.int32)
