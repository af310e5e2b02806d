"""The pictures of a folder decoded once, for a training that looks at them many times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.decoding import batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.io.array_store import Scratch
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


@dataclass(frozen=True)
class Decoded:
    """Pictures as the network takes them.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    indices : tuple of int
        Position of each in the folder.
    digests : tuple of str
        SHA-256 of each file.
    skipped : tuple of Skipped
    """

    images: NDArray[np.uint8]
    indices: tuple[int, ...]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def decode_all(request: TrainingRequest, recipe: Recipe, scratch: Scratch) -> Decoded:
    """Return every picture of the folder that can be read, in order."""
    files, size = request.folder.files, recipe.image_size
    images = scratch.array((len(files), size, size, 3), np.uint8)
    indices: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    read = batches(
        (file.path for file in files),
        size=size,
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=request.folder.root,
        strict=request.strict,
    )
    with request.progress.track("reading pictures", len(files)) as advance:
        for batch in read:
            images[len(indices) : len(indices) + len(batch.indices)] = batch.images
            indices += batch.indices
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    return Decoded(images[: len(indices)], tuple(indices), tuple(digests), tuple(skipped))
