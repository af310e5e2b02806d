"""Make the pictures of sample_data/patterns, with ``python sample_data/make.py [TARGET]``.

Pictures of four patterns, turned, moved and scaled, dark on light or light on dark, with shading and noise over
all. Half of each picture is dark, so that its mean colour does not tell the class. The same pictures are made
each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 96
FINE = 3  # drawn so many times larger, then scaled down
PICTURES_A_CLASS = 60
PATTERNS = ("checks", "dots", "rings", "stripes")

Plane = NDArray[np.float64]


def pattern(name: str, x: Plane, y: Plane, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return where a pattern is inked; `x` and `y` are in radians of its period."""
    if name == "checks":
        return np.sin(x) * np.sin(y) > 0
    if name == "dots":
        return np.cos(x) + np.cos(y) > 0.35  # between a dot pattern's look and half of the plane
    if name == "rings":
        middle = random.uniform(-6, 6, 2)
        return np.sin(np.hypot(x - middle[0], y - middle[1])) > 0
    return np.sin(x) > 0


def picture(name: str, random: np.random.Generator) -> Image.Image:
    """Return one picture of a pattern."""
    light, dark = random.normal((200, 180, 150), 12), random.normal((60, 80, 110), 12)
    places = (np.arange(SIDE * FINE) + 0.5) / FINE - SIDE / 2
    x, y = np.meshgrid(places, places)
    angle, period, shift = random.uniform(0, 2 * np.pi), random.uniform(12, 24), random.uniform(0, 30, 2)
    turned = x * np.cos(angle) + y * np.sin(angle) + shift[0], y * np.cos(angle) - x * np.sin(angle) + shift[1]
    inked = pattern(name, turned[0] * 2 * np.pi / period, turned[1] * 2 * np.pi / period, random)
    if random.random() < 0.5:
        inked = ~inked
    colours = np.where(inked[..., None], dark, light)
    small = colours.reshape(SIDE, FINE, SIDE, FINE, 3).mean(axis=(1, 3))
    slope = np.linspace(-1, 1, SIDE)
    shade = random.uniform(-25, 25) * slope[:, None] + random.uniform(-25, 25) * slope[None, :]
    noisy = small + shade[..., None] + random.normal(0, 6, small.shape)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))


def main(target: Path) -> None:
    """Write every picture below `target`."""
    random = np.random.default_rng(2026)
    for name in PATTERNS:
        folder = target / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(PICTURES_A_CLASS):
            picture(name, random).save(folder / f"{name}_{number:02}.jpg", quality=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "patterns")
