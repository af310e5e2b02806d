"""Fractals of iterated function systems, one system per class.

A class of formula-driven supervision (Kataoka et al., "Pre-training without Natural Images", ACCV 2020) is a set of
affine maps; its images show the attractor of the set, slightly changed each time. Sets are sampled after Anderson and
Farrell ("Improving Fractal Pre-training", WACV 2022, section 3.1): the weighted sum of the singular values is in the
range in which attractors have a shape, so none is a dot or a cloud.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WALKERS = 512
STEPS = 80
SETTLING = 16


def system(random: np.random.Generator) -> NDArray[np.float64]:
    """Return the maps of a random class, of shape (n, 2, 3)."""
    count = int(random.integers(2, 7))
    first, second = _singular_values(count, random)
    turn, other = random.uniform(-np.pi, np.pi, (2, count))
    signs = random.choice([-1.0, 1.0], (2, count))
    middle = np.zeros((count, 2, 2))
    middle[:, 0, 0], middle[:, 1, 1] = first * signs[0], second * signs[1]
    linear = _rotation(turn) @ middle @ _rotation(other)
    return np.concatenate([linear, random.uniform(-1, 1, (count, 2, 1))], axis=2)


def changed(maps: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return the maps of one instance of a class: every parameter changed slightly."""
    return maps * random.uniform(0.88, 1.08, maps.shape)


def render(maps: NDArray[np.float64], size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return the attractor, drawn by the chaos game with many walkers: the logarithm of the visits per pixel.

    Parameters
    ----------
    maps : ndarray of shape (n, 2, 3)
    size : int
        Side in pixels.
    random : numpy.random.Generator

    Returns
    -------
    ndarray of shape (size, size), uint8
    """
    weight = np.abs(np.linalg.det(maps[:, :, :2])) + 0.02
    chosen = random.choice(len(maps), (STEPS, WALKERS), p=weight / weight.sum())
    points = np.zeros((2, WALKERS))
    visited = np.empty((STEPS, 2, WALKERS))
    for step in range(STEPS):
        used = maps[chosen[step]]
        points = np.stack(
            [used[:, row, 0] * points[0] + used[:, row, 1] * points[1] + used[:, row, 2] for row in (0, 1)]
        )
        visited[step] = points
    places = visited[SETTLING:].transpose(1, 0, 2).reshape(2, -1)
    low, high = np.percentile(places, [0.5, 99.5], axis=1)
    scale = (size - 1) / max(float((high - low).max()), 1e-6)
    shifted = ((places - (low[:, None] + high[:, None]) / 2) * scale + size / 2).astype(np.int64)
    inside = ((shifted >= 0) & (shifted < size)).all(axis=0)
    counts = np.bincount(shifted[1, inside] * size + shifted[0, inside], minlength=size * size)
    grey = np.log1p(counts.reshape(size, size).astype(np.float32))
    grey = cv2.GaussianBlur(grey, (0, 0), 0.7)
    return np.clip(grey * (255 / max(float(np.percentile(grey, 99)), 1e-6)), 0, 255).astype(np.uint8)


def _singular_values(count: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return singular values; the sum of first + 2 second is random between 0.5 (5 + n) and 0.5 (6 + n)."""
    while True:
        wanted = random.uniform(0.5 * (5 + count), 0.5 * (6 + count))
        first = random.uniform(0.3, 1.0, count)
        second = first * random.uniform(0.1, 1.0, count)
        factor = wanted / float((first + 2 * second).sum())
        if factor * first.max() < 0.98:
            return first * factor, second * factor


def _rotation(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
