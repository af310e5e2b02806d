"""The split of a training, computed before there is a run, and a sample of its training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.image_store import Decoded, decode_into, read_batches
from transfer_cli.training.setup.split import make_split


class _All:
    """A container of all digests, so that all files count as known and none is decoded."""

    def __contains__(self, digest: object) -> bool:
        return True


@dataclass(frozen=True)
class Survey:
    """The images of a folder, split as a run would split them.

    Attributes
    ----------
    split : Split
    indices : tuple of int
        Position of each row of the split in the folder.
    skipped : tuple of Skipped
        Files that could not be read; if images were not decoded, broken ones are not among them.
    """

    split: Split
    indices: tuple[int, ...]
    skipped: tuple[Skipped, ...]


def survey(request: TrainingRequest, recipe: Recipe, *, decodes: bool) -> Survey:
    """Return the split that a run would have, by the same code and from the digests of the same files.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    decodes : bool
        Decode each image to find the broken ones, as a run does; else files are only read for their digests.
    """
    files = range(len(request.folder.files))
    indices: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    with request.progress.track("reading images" if decodes else "reading files", len(files)) as advance:
        for batch in read_batches(request, recipe, files, () if decodes else _All()):
            indices += batch.indices
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    groups = groups_of(request, recipe, indices, digests)
    return Survey(make_split(request, recipe, indices, digests, skipped, groups), tuple(indices), tuple(skipped))


def decode_rows(
    request: TrainingRequest, recipe: Recipe, surveyed: Survey, rows: Sequence[int]
) -> tuple[Decoded, list[int]]:
    """Decode some rows of a survey; return the images that can be read, and their rows."""
    size, row_of = recipe.image_size, {surveyed.indices[row]: row for row in rows}
    images = np.empty((len(rows), size, size, 3), np.uint8)
    decoded = decode_into(images, request, recipe, [*row_of])
    return decoded, [row_of[index] for index in decoded.indices]
