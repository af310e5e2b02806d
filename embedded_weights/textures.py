"""Textures by formula, one set of parameters per class, as seamless grey tiles.

Four families: band-limited, oriented noise (after Perlin, in the Fourier domain), periodic patterns (stripes, checks,
dots: products of waves), cells (Worley 1996), and waves bent by noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

SIDE = 192
FAMILIES = ("noise", "periodic", "cells", "bent")


@dataclass(frozen=True)
class Texture:
    """The formula of one class: its family, and the parameters of the family."""

    family: str
    numbers: NDArray[np.float64]


def texture(random: np.random.Generator) -> Texture:
    """Return a random class."""
    return Texture(str(random.choice(FAMILIES, p=[0.4, 0.2, 0.2, 0.2])), random.random(8))


def tile(formula: Texture, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return one instance of a class, of shape (SIDE, SIDE), stretched to the range 0 to 255."""
    made = {"noise": _noise, "periodic": _periodic, "cells": _cells, "bent": _bent}[formula.family](
        formula.numbers, random
    )
    low, high = np.percentile(made, [2, 98])
    return np.clip((made - low) * (255 / max(float(high - low), 1e-6)), 0, 255).astype(np.uint8)


def _noise(numbers: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    field = _band(4 * 14 ** numbers[0], 0.15 + 0.8 * numbers[1], numbers[2] * np.pi, numbers[3] * 3, random)
    if numbers[4] < 0.25:
        return -np.abs(field)  # ridges
    if numbers[4] < 0.5:
        return np.tanh(3 * (field - numbers[5] + 0.5))  # blots
    if numbers[4] < 0.75:
        return field + (0.5 + numbers[5]) * _band(3, 0.5, 0, 0, random)
    return field


def _periodic(numbers: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    x, y = _grid()
    across, down = (int(3 + 20 * value**1.5) for value in numbers[:2])
    first = np.sin(x * across + random.uniform(0, 6))
    second = np.sin(y * down + random.uniform(0, 6))
    sharp = 1 + 8 * numbers[2]
    kind = int(numbers[3] * 5)
    if kind == 0:
        made = np.tanh(sharp * (first + numbers[4] - 0.5))
    elif kind == 1:
        made = np.tanh(sharp * first * second)
    elif kind == 2:
        made = np.tanh(sharp * first) + np.tanh(sharp * second)
    elif kind == 3:
        made = np.tanh(sharp * (first + second - 0.6 - numbers[4]))
    else:
        made = np.tanh(sharp * np.sin(x * across + 2 * np.sin(y * down) * numbers[4]))
    return made + 0.1 * random.normal(0, 1) * _band(8, 0.6, 0, 0, random)


def _cells(numbers: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    count = int(12 * 16 ** numbers[0])
    centres = random.uniform(0, SIDE, (count, 2))
    if numbers[1] < 0.4:  # a jittered grid
        side = int(np.sqrt(count)) + 1
        places = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) + random.uniform(
            0, numbers[1] * 2, (side * side, 2)
        )
        centres = (places * SIDE / side) % SIDE
    where = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    far, which = cKDTree(centres, boxsize=SIDE).query(where + 0.25, k=2)
    kind = int(numbers[2] * 4)
    if kind == 0:
        made = far[:, 0]
    elif kind == 1:
        made = np.minimum(far[:, 1] - far[:, 0], SIDE / np.sqrt(count) * 0.3)
    elif kind == 2:
        made = random.random(len(centres))[which[:, 0]] * 10
    else:
        made = -np.tanh((far[:, 0] - SIDE / np.sqrt(count) * (0.15 + 0.3 * numbers[3])) * 2)
    return made.reshape(SIDE, SIDE).astype(np.float64)


def _bent(numbers: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    x, y = _grid()
    across, down = int(2 + 14 * numbers[0]), int(12 * numbers[1])
    bend = (0.5 + 5 * numbers[2]) * _band(2 + 6 * numbers[3], 0.5, 0, 0, random)
    wave = np.sin(x * across + y * down + bend)
    return np.tanh((0.5 + 6 * numbers[4]) * (wave + numbers[5] - 0.5))


def _band(
    middle: float, width: float, direction: float, directed: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return band-limited, oriented Gaussian noise with mean 0 and standard deviation 1."""
    down, across = np.fft.fftfreq(SIDE)[:, None] * SIDE, np.fft.rfftfreq(SIDE)[None] * SIDE
    frequency = np.hypot(down, across) + 1e-6
    spectrum = np.exp(-((np.log(frequency / middle) / width) ** 2))
    spectrum *= np.exp(directed * (np.cos(2 * (np.arctan2(down, across) - direction)) - 1))
    spectrum[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(random.normal(0, 1, (SIDE, SIDE))) * spectrum, (SIDE, SIDE))
    return field / max(float(field.std()), 1e-9)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line = np.linspace(0, 2 * np.pi, SIDE, endpoint=False)
    return line[None].repeat(SIDE, 0), line[:, None].repeat(SIDE, 1)
