"""All images of a folder, decoded once and stored for the whole training."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.image_batches import ImageBatch, batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


@dataclass(frozen=True)
class Decoded:
    """Decoded images, as the network receives them.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
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
        return decode_into(scratch.array((count, size, size, 3), np.uint8), request, recipe, range(count), advance)


def decode_into(
    images: NDArray[np.uint8],
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    advance: Callable[[int], None] = lambda count: None,
) -> Decoded:
    """Decode images of the folder into an array that has a row for each; those that cannot be read have none."""
    readable: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    for batch in read_batches(request, recipe, indices):
        images[len(readable) : len(readable) + len(batch.indices)] = batch.images
        readable += [indices[position] for position in batch.indices]
        digests += batch.digests
        skipped += batch.skipped
        advance(len(batch.indices) + len(batch.skipped))
    return Decoded(images[: len(readable)], tuple(readable), tuple(digests), tuple(skipped))


def read_batches(
    request: TrainingRequest, recipe: Recipe, indices: Sequence[int], known: Container[str] = ()
) -> Iterator[ImageBatch]:
    """Read images of the folder by their positions (see `data.image_batches.batches`)."""
    return batches(
        (request.folder.files[index].path for index in indices),
        size=recipe.image_size,
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=request.folder.root,
        strict=request.strict,
        known=known,
    )
