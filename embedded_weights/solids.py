"""Solids of revolution, lit from one side: a held-out family of classes, to compare trainings.

A class is the radius as a function of the height; its images differ in light, colour, tilt and background.
"""

from __future__ import annotations

import colours
import cv2
import numpy as np
from numpy.typing import NDArray

KNOTS = 9


def profile(random: np.random.Generator) -> NDArray[np.float64]:
    """Return a random class: the radius at KNOTS heights, and the ratio of height to width."""
    walk = np.abs(np.cumsum(random.normal(0, 0.5, KNOTS)) + random.uniform(0.2, 1))
    return np.append(np.clip(walk / walk.max(), 0.12, 1), np.exp(random.uniform(-0.2, 0.8)))


def solid(
    formula: NDArray[np.float64], background: NDArray[np.uint8], size: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Return one image of a class on a background, of shape (size, size, 3)."""
    line = np.linspace(-1.2, 1.2, size)
    angle, zoom = random.normal(0, 0.25), random.uniform(0.9, 1.4)
    centre = random.uniform(-0.2, 0.2, 2)
    x, y = np.meshgrid(line - centre[0], line - centre[1])
    x, y = zoom * (np.cos(angle) * x - np.sin(angle) * y), zoom * (np.sin(angle) * x + np.cos(angle) * y)
    ratio = formula[-1]
    height = np.clip((y / min(1, ratio) + 1) / 2, 0, 1)
    knots = np.linspace(0, 1, KNOTS)
    radius = np.interp(height, knots, formula[:-1] * random.uniform(0.95, 1.05, KNOTS)) / max(1, ratio)
    inside = (np.abs(x) < radius) & (np.abs(y) < min(1, ratio))
    normal_x = np.clip(x / radius, -1, 1)
    normal_z = np.sqrt(1 - normal_x**2)
    slope = np.gradient(radius, axis=0) * size / 4
    towards = random.uniform(-1, 1, 2)
    light = (
        (normal_x * towards[0] + normal_z - slope * towards[1])
        / np.sqrt(1 + slope**2)
        / np.hypot(1, np.hypot(*towards))
    )
    rings = np.sin(height * random.uniform(0, 40)) * random.uniform(0, 0.3)
    paint = colours.palette(random, 0.6)[np.clip((0.5 + rings) * 255, 0, 255).astype(np.uint8)]
    lit = np.clip(paint * (0.25 + 0.9 * np.clip(light, 0, 1))[:, :, None], 0, 255)
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.6)[:, :, None]
    return (background + (lit - background) * alpha).astype(np.uint8)
