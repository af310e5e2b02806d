"""The random formulas of all classes, from a seed, with stored renderings of the slow ones.

Contours and limbs are rendered for each image. Fractals (7 ms each) and textures (5 to 80 ms) are rendered once,
several instances per class, into files that all processes map into memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import contours
import fractals
import limbs
import numpy as np
import textures
from numpy.typing import NDArray

STENCIL = 112
FRACTAL_INSTANCES = 6
TILE_INSTANCES = 3


@dataclass(frozen=True)
class Counts:
    """Number of classes per family."""

    fractals: int = 300
    contours: int = 300
    limbs: int = 300
    textures: int = 240

    @property
    def shapes(self) -> int:
        """Number of shape classes."""
        return self.fractals + self.contours + self.limbs


@dataclass(frozen=True)
class Formulas:
    """All classes, and the stored renderings of fractals and textures.

    Attributes
    ----------
    counts : Counts
    fractals : ndarray of shape (classes, instances, STENCIL, STENCIL), uint8
    contours : list of contours.Contour
    limbs : list of limbs.Plan
    tiles : ndarray of shape (classes, instances, SIDE, SIDE), uint8
    """

    counts: Counts
    fractals: NDArray[np.uint8]
    contours: list[contours.Contour]
    limbs: list[limbs.Plan]
    tiles: NDArray[np.uint8]

    def stencil(self, number: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return one instance of a class of shapes, white on black: fractals first, then contours, then limbs."""
        if number < self.counts.fractals:
            return self.fractals[number, random.integers(FRACTAL_INSTANCES)]
        number -= self.counts.fractals
        if number < self.counts.contours:
            return contours.render(self.contours[number], STENCIL, random)
        return limbs.render(self.limbs[number - self.counts.contours], STENCIL, random)

    def tile(self, number: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return one instance of a texture class."""
        return self.tiles[number, random.integers(TILE_INSTANCES)]


def formulas(counts: Counts, seed: int, store: Path) -> Formulas:
    """Return the classes of `seed`; fractals and textures are rendered into the folder `store` if missing."""
    random = np.random.default_rng([seed, 1])
    outlines = [contours.contour(random) for _ in range(counts.contours)]
    plans = [limbs.plan(random) for _ in range(counts.limbs)]
    store.mkdir(parents=True, exist_ok=True)
    return Formulas(
        counts,
        _stored(store / f"fractals-{seed}-{counts.fractals}.npy", _fractals, counts.fractals, seed),
        outlines,
        plans,
        _stored(store / f"tiles-{seed}-{counts.textures}.npy", _tiles, counts.textures, seed),
    )


def _stored(path: Path, make: object, count: int, seed: int) -> NDArray[np.uint8]:
    if not path.is_file():
        rendered = make(count, seed)  # type: ignore[operator]
        beside = path.with_name(f"being-written-{path.name}")
        np.save(beside, rendered)
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def _fractals(count: int, seed: int) -> NDArray[np.uint8]:
    rendered = np.empty((count, FRACTAL_INSTANCES, STENCIL, STENCIL), np.uint8)
    for number in range(count):
        random = np.random.default_rng([seed, 2, number])
        maps = fractals.system(random)
        for instance in range(FRACTAL_INSTANCES):
            rendered[number, instance] = fractals.render(fractals.changed(maps, random), STENCIL, random)
    return rendered


def _tiles(count: int, seed: int) -> NDArray[np.uint8]:
    rendered = np.empty((count, TILE_INSTANCES, textures.SIDE, textures.SIDE), np.uint8)
    for number in range(count):
        random = np.random.default_rng([seed, 3, number])
        formula = textures.texture(random)
        for instance in range(TILE_INSTANCES):
            rendered[number, instance] = textures.tile(formula, random)
    return rendered
