"""Templates of classes: the mean of their training images, and the weights of a linear model on pixels as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.bundle.files import LINEAR_FILE
from transfer_cli.classifiers.linear import Linear
from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.progress import SILENT, Progress

MAX_SIDE = 96
_BATCH = 64


@dataclass(frozen=True)
class ClassMeans:
    """The mean image of each class.

    Attributes
    ----------
    class_names : tuple of str
        The classes that have images.
    images : ndarray of shape (k, side, side, 3), uint8
    counts : tuple of int
        Number of images of each class.
    skipped : tuple of Skipped
    """

    class_names: tuple[str, ...]
    images: NDArray[np.uint8]
    counts: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def class_means(
    files: Sequence[tuple[str, tuple[str, ...]]], view: View, *, root: Path | None = None, progress: Progress = SILENT
) -> ClassMeans:
    """Return the mean of the images of each class, pixel by pixel.

    Parameters
    ----------
    files : sequence of (str, tuple of str)
        Path and labels; an image with several labels counts for each.
    view : View
        That of the model; images are decoded with a side of at most `MAX_SIDE`.
    root : Path, optional
        The folder that the paths are relative to.
    progress : Progress

    Raises
    ------
    InputError
        If no image could be read.
    """
    names = sorted({label for _, labels in files for label in labels})
    row_of = {name: number for number, name in enumerate(names)}
    labels_of = dict(files)
    view = view._replace(size=min(view.size, MAX_SIDE))
    totals, counts = np.zeros((len(names), view.size, view.size, 3), np.uint64), np.zeros(len(names), np.int64)
    skipped: list[Skipped] = []
    with progress.track("computing the mean of each class", len(files)) as advance:
        for batch in view_batches([path for path, _ in files], [view], batch_size=_BATCH, root=root):
            skipped += batch.skipped
            for path, image in zip(batch.paths, batch.images, strict=True):
                for label in labels_of[path]:
                    totals[row_of[label]] += image
                    counts[row_of[label]] += 1
            advance(len(batch.paths) + len(batch.skipped))
    if not counts.any():
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        raise InputError(f"No image could be read.{reasons}", hint="Name a folder of classes after the model.")
    present = np.flatnonzero(counts)
    means = np.rint(totals[present] / counts[present, None, None, None]).astype(np.uint8)
    found = tuple(names[number] for number in present)
    return ClassMeans(found, means, tuple(counts[present].tolist()), tuple(skipped))


def pixel_weights(opened: OpenedBundle) -> NDArray[np.uint8] | None:
    """Return the weights of each class as an image, if the model is linear on pixels; else None.

    Returns
    -------
    ndarray of shape (k, side, side, 3), uint8
        Each class is scaled separately; grey is 0, brighter pixels speak for the class.
    """
    path = opened.directory / LINEAR_FILE
    if opened.members or not path.is_file():
        return None
    kernel = Linear.load(path).kernel
    width, sizes = len(kernel), {3: isqrt(len(kernel) // 3), 1: isqrt(len(kernel))}
    depth = next((depth for depth, side in sizes.items() if depth * side**2 == width), None)
    if depth is None or not _is_linear_on_pixels(opened):
        return None
    weights = kernel.T.reshape(-1, sizes[depth], sizes[depth], depth)
    highest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) + 1e-12
    images = np.rint(127.5 * (1 + weights / highest)).astype(np.uint8)
    return np.broadcast_to(images, (*images.shape[:3], 3))


def _is_linear_on_pixels(opened: OpenedBundle) -> bool:
    """Return whether nothing with weights is between the pixels and the classes."""
    from transfer_cli.quiet_imports import import_tensorflow

    import_tensorflow()
    from transfer_cli.explain.source_network import bundle_network
    from transfer_cli.models.layer_summary import leaves

    weighted = [layer for layer in leaves(bundle_network(opened)) if layer.weights]
    kinds = [type(layer).__name__ for layer in weighted]
    return kinds == (["Dense"] if opened.bundle.kind == "network" else [])
