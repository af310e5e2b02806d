"""Generate the images of sample_data/patterns: ``python sample_data/make.py [TARGET]``.

Four patterns with random colours, angle, scale, position and distortion, partly covered by translucent blobs: no two
images are near-duplicates, and the mean colour does not reveal the class. The result is the same every time.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 96
OVERSAMPLING = 3
IMAGES_PER_CLASS = 60
PATTERNS = ("checks", "dots", "rings", "stripes")

Plane = NDArray[np.float64]


def pattern(name: str, x: Plane, y: Plane, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return the mask of a pattern; `x` and `y` are phases in radians."""
    if name == "checks":
        return np.sin(x) * np.sin(y) > 0
    if name == "dots":
        return np.cos(x) + np.cos(y) > 0.8
    if name == "rings":
        centre = random.uniform(-8, 8, 2)
        return np.sin(np.hypot(x - centre[0], y - centre[1])) > 0
    return np.sin(x) > 0


def colours(random: np.random.Generator) -> NDArray[np.float64]:
    """Return a dark and a light RGB colour, 0 to 255, in random order and of random hues."""
    dark = colorsys.hsv_to_rgb(random.random(), random.uniform(0.2, 0.9), random.uniform(0.1, 0.45))
    light = colorsys.hsv_to_rgb(random.random(), random.uniform(0.05, 0.6), random.uniform(0.7, 1.0))
    return 255 * np.array([dark, light])[random.permutation(2)]


def blobs(x: Plane, y: Plane, random: np.random.Generator) -> Plane:
    """Return how much translucent blobs brighten or darken each place, in grey levels."""
    shade = np.zeros_like(x)
    for _ in range(random.integers(3, 7)):
        centre, radius = random.uniform(-SIDE / 2, SIDE / 2, 2), random.uniform(10, 30, 2)
        inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1
        shade += inside * random.uniform(30, 80) * random.choice([-1, 1])
    return shade


def image(name: str, random: np.random.Generator) -> Image.Image:
    """Return one random image of a pattern."""
    places = (np.arange(SIDE * OVERSAMPLING) + 0.5) / OVERSAMPLING - SIDE / 2
    x, y = np.meshgrid(places, places)
    # A smooth wave bends the pattern, differently in each image.
    wave, phase = random.uniform(0.03, 0.07, 2), random.uniform(0, 2 * np.pi, 2)
    bend = random.uniform(1, 4, 2)
    bent_x, bent_y = x + bend[0] * np.sin(wave[0] * y + phase[0]), y + bend[1] * np.sin(wave[1] * x + phase[1])
    angle, period, shift = random.uniform(0, 2 * np.pi), random.uniform(11, 30), random.uniform(0, 30, 2)
    turned_x = bent_x * np.cos(angle) + bent_y * np.sin(angle) + shift[0]
    turned_y = bent_y * np.cos(angle) - bent_x * np.sin(angle) + shift[1]
    mask = pattern(name, turned_x * 2 * np.pi / period, turned_y * 2 * np.pi / period, random)
    painted = np.where(mask[..., None], *colours(random)) + blobs(x, y, random)[..., None]
    small = painted.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING, 3).mean(axis=(1, 3))
    noisy = small + random.normal(0, 5, small.shape)
    result = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return result.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))


def main(target: Path) -> None:
    """Write all images below `target`, one folder per class."""
    random = np.random.default_rng(5)
    for name in PATTERNS:
        folder = target / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(IMAGES_PER_CLASS):
            image(name, random).save(folder / f"{name}_{number:02}.jpg", quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "patterns")
