"""A model without a network: the mean colour of an image tells its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from transfer_cli.inference.models import Images, NetworkModel, Probabilities

NAMES = ("red", "green", "blue", "grey")


def colour_model(thresholds: tuple[float, ...] | None = None) -> NetworkModel:
    """Return a model that gives each channel, and grey, a share of the probability."""
    return NetworkModel(_shares, NAMES, 8, "squash", thresholds)


def _shares(images: Images) -> Probabilities:
    means = images.reshape(len(images), -1, 3).mean(axis=1)
    shares = np.concatenate([means, 255 - means.max(axis=1, keepdims=True)], axis=1) + 1e-3
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def save_colours(folder: Path, count: int, *, broken: tuple[int, ...] = ()) -> list[str]:
    """Write images of one colour each; those in `broken` cannot be read."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if number in broken:
            path.write_bytes(b"broken")
        else:
            Image.new("RGB", (8, 8), tuple(random.integers(0, 256, 3).tolist())).save(path)
    return list(map(str, paths))
