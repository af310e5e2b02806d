"""What a training would learn from, found out before there is a run: the parts, and some pictures of train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.decoding import batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.image_store import Decoded
from transfer_cli.training.setup.lifecycle import make_split


class _All:
    """Every digest: of a file that is known, none is decoded."""

    def __contains__(self, digest: object) -> bool:
        return True


@dataclass(frozen=True)
class Survey:
    """The pictures of a folder as a run would part them.

    Attributes
    ----------
    split : Split
    indices : tuple of int
        Position of each row of the split in the folder.
    skipped : tuple of Skipped
        What could not be read; of files that were not decoded only those that are no files of bytes.
    """

    split: Split
    indices: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def survey(request: TrainingRequest, recipe: Recipe, *, decodes: bool) -> Survey:
    """Return the parts that a run would have: by the same code, from the digests of the same files.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    decodes : bool
        Decode every picture as a run does, and so learn which cannot be; else the bytes of a file are read for their
        digest, and a picture that is broken counts until it is met.
    """
    files = request.folder.files
    indices: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    read = batches(
        (file.path for file in files),
        size=recipe.image_size,
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=request.folder.root,
        strict=request.strict,
        known=() if decodes else _All(),
    )
    with request.progress.track("reading pictures" if decodes else "reading files", len(files)) as advance:
        for batch in read:
            indices += batch.indices
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    groups = groups_of(request, recipe, indices, digests)
    return Survey(make_split(request, recipe, indices, digests, skipped, groups), tuple(indices), tuple(skipped))


def decode_rows(
    request: TrainingRequest, recipe: Recipe, found: Survey, rows: Sequence[int]
) -> tuple[Decoded, list[int]]:
    """Return some pictures of a survey, and which of its rows they are: those that can be read."""
    files = request.folder.files
    read = batches(
        (files[found.indices[row]].path for row in rows),
        size=recipe.image_size,
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=request.folder.root,
        strict=request.strict,
    )
    images: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    for batch in read:
        images.append(batch.images)
        kept += [rows[index] for index in batch.indices]
        digests += batch.digests
        skipped += batch.skipped
    whole = np.concatenate(images) if images else np.empty((0, recipe.image_size, recipe.image_size, 3), np.uint8)
    return Decoded(whole, tuple(found.indices[row] for row in kept), tuple(digests), tuple(skipped)), kept
