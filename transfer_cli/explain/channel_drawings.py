"""The drawings of `inspect` that show what channels and classes stand for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer_cli.explain.image_grid import Cell, save_grid
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.explain.maximise import Maximised
    from transfer_cli.explain.strongest import Strongest
    from transfer_cli.explain.templates import ClassMeans


def draw_maximised(found: Maximised, target: Path) -> None:
    """Draw the image that excites each channel most, with its mean activation and the highest one for noise."""
    each = zip(found.numbers, found.images, found.activations, found.noise, strict=True)
    cells = [
        Cell(image, f"channel {number}", f"{activation:.3g}  (noise {noise:.3g})")
        for number, image, activation, noise in each
    ]
    save_grid(cells, math.ceil(math.sqrt(len(cells))), target)


def draw_strongest(found: Strongest, target: Path) -> None:
    """Draw a row for each channel: the images that excite it most, with their mean activations."""
    cells = [
        Cell(image.pixels, f"channel {number}: {image.activation:.3g}", Path(image.path).name)
        for number, row in zip(found.numbers, found.rows, strict=True)
        for image in row
    ]
    save_grid(cells, len(found.rows[0]), target)


def draw_templates(
    means: ClassMeans, target: Path, weights: NDArray[np.uint8] | None = None, weighted: tuple[str, ...] = ()
) -> None:
    """Draw the mean image of each class, and below them the weights of each class, if there are any.

    Parameters
    ----------
    means : ClassMeans
    target : Path
    weights : ndarray of shape (k, side, side, 3), uint8, optional
    weighted : tuple of str
        The k classes of the weights.
    """
    each = zip(means.class_names, means.images, means.counts, strict=True)
    cells = [Cell(image, name, f"mean of {counted(count, 'image')}") for name, image, count in each]
    if weights is not None:
        cells += [Cell(image, name, "weights") for name, image in zip(weighted, weights, strict=True)]
    save_grid(cells, len(weighted) if 0 < len(weighted) <= 10 else math.ceil(math.sqrt(len(cells))), target)
