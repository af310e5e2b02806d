"""All images of a folder, decoded once and stored for the whole training."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest

_NOT_KEPT = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """Images of a folder, as the network receives them.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
        Empty if they were not kept.
    indices : tuple of int
        Position of each image in the folder.
    digests : tuple of str
        SHA-256 of each file.
    skipped : tuple of Skipped
    """

    images: NDArray[np.uint8]
    indices: tuple[int, ...]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def decode_all(request: TrainingRequest, recipe: Recipe, scratch: ArrayStore) -> Decoded:
    """Decode all images of the folder that can be read, in order."""
    count, size = len(request.folder.files), recipe.image_size
    with request.progress.track("reading images", count) as advance:
        images = scratch.array((count, size, size, 3), np.uint8)
        return read_images(request, recipe, range(count), images, advance)


def read_images(
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    images: NDArray[np.uint8] = _NOT_KEPT,
    advance: Callable[[int], None] = lambda count: None,
    known: Container[str] = (),
) -> Decoded:
    """Read images of the folder by their positions.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    indices : sequence of int
    images : ndarray of shape (n, size, size, 3), uint8, optional
        Receives the images, if they are to be kept; those that cannot be read get no row.
    advance : callable
        Called with the number of files of each batch.
    known : container of str
        SHA-256 digests of files that need not be decoded; only if the images are not kept.
    """
    readable: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    for batch in view_batches(
        (request.folder.files[index].path for index in indices),
        [recipe.view],
        batch_size=recipe.batch_size,
        root=request.folder.root,
        strict=request.strict,
        known=known,
    ):
        if images is not _NOT_KEPT:
            images[len(readable) : len(readable) + len(batch.indices)] = batch.images
        readable += [indices[position] for position in batch.indices]
        digests += batch.digests
        skipped += batch.skipped
        advance(len(batch.indices) + len(batch.skipped))
    return Decoded(images[: len(readable)], tuple(readable), tuple(digests), tuple(skipped))
