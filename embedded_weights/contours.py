"""Closed contours, one formula per class.

After Kataoka et al., "Replacing Labeled Real-image Datasets with Auto-generated Contours" (CVPR 2022): networks mostly
learn the outlines of fractals, and outlines are cheaper to draw. A class is the radius as a function of the angle,
defined by harmonics or by corners. Its images vary the parameters slightly, and are drawn filled or as nested lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

POINTS = 160
ANGLES = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)


@dataclass(frozen=True)
class Contour:
    """The formula of one class.

    Attributes
    ----------
    amplitudes, phases : ndarray of shape (harmonics,)
    corners : ndarray of shape (n, 2)
        Angle and radius of each corner; empty for a curve of harmonics.
    oval : float
        Width over height.
    """

    amplitudes: NDArray[np.float64]
    phases: NDArray[np.float64]
    corners: NDArray[np.float64]
    oval: float


def contour(random: np.random.Generator) -> Contour:
    """Return a random class."""
    oval = float(np.exp(random.uniform(-0.6, 0.6)))
    if random.random() < 0.5:
        count = int(random.integers(3, 12))
        spread = np.sort(random.uniform(0, 2 * np.pi, count) * 0.5 + ANGLES[:: POINTS // count][:count] * 0.5)
        corners = np.stack([spread, random.uniform(0.3, 1.0, count)], 1)
        return Contour(np.zeros(0), np.zeros(0), corners, oval)
    order = np.arange(1, 13)
    decay = random.uniform(0.4, 1.3)
    amplitudes = random.normal(0, 1, 12) / order**decay * (random.random(12) < 0.55)
    amplitudes *= random.uniform(0.25, 0.7) / max(float(np.abs(amplitudes).sum()), 1e-6)
    return Contour(amplitudes, random.uniform(-np.pi, np.pi, 12), np.zeros((0, 2)), oval)


def outline(formula: Contour, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the outline of one instance: points of shape (n, 2), -1 to 1."""
    if len(formula.corners):
        angle = formula.corners[:, 0] + random.normal(0, 0.07, len(formula.corners))
        radius = formula.corners[:, 1] * random.uniform(0.88, 1.12, len(formula.corners))
    else:
        angle = ANGLES
        amplitudes = formula.amplitudes * random.uniform(0.75, 1.25, formula.amplitudes.shape)
        phases = formula.phases + random.normal(0, 0.15, formula.phases.shape)
        orders = np.arange(1, len(amplitudes) + 1)[:, None]
        radius = 1 + (amplitudes[:, None] * np.cos(orders * angle + phases[:, None])).sum(0)
    points = np.stack([np.cos(angle) * radius * formula.oval, np.sin(angle) * radius], 1)
    return points / np.abs(points).max()


def render(formula: Contour, size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return one image of a class, white on black: filled, or as nested lines."""
    points = outline(formula, random)
    image = np.zeros((size, size), np.uint8)
    if random.random() < 0.7:
        cv2.fillPoly(image, [fixed(points, size)], 255, cv2.LINE_AA, 4)
        return image
    thickness = int(random.integers(1, 5))
    for ring in range(int(random.integers(1, 5))):
        cv2.polylines(image, [fixed(points * (1 - 0.18 * ring), size)], True, 255, thickness, cv2.LINE_AA, 4)
    return image


def fixed(points: NDArray[np.float64], size: int) -> NDArray[np.int32]:
    """Return points in -1 to 1 as OpenCV's fixed-point coordinates (4 fractional bits), with a margin."""
    return np.round((points * 0.46 + 0.5) * size * 16).astype(np.int32)
