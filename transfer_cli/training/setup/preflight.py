"""The split of a training, computed before there is a run, and a sample of its images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.image_store import Decoded, read_images
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
    with request.progress.track("reading images" if decodes else "reading files", len(files)) as advance:
        read = read_images(request, recipe, files, advance=advance, known=() if decodes else _All())
    split, _ = make_split(request, recipe, read)
    return Survey(split, read.indices, read.skipped)


def decode_rows(
    request: TrainingRequest, recipe: Recipe, surveyed: Survey, rows: Sequence[int]
) -> tuple[Decoded, list[int]]:
    """Decode some rows of a survey; return the images that can be read, and their rows."""
    size, row_of = recipe.image_size, {surveyed.indices[row]: row for row in rows}
    decoded = read_images(request, recipe, [*row_of], np.empty((len(rows), size, size, 3), np.uint8))
    return decoded, [row_of[index] for index in decoded.indices]


def with_val(request: TrainingRequest, recipe: Recipe, surveyed: Survey) -> Survey:
    """Return a survey with a validation set: its own, or a share of its training set as in the recipe.

    Images are selected by their digests, as in any split; groups stay together, and the test set stays the same. There
    is no validation set if no class has an image to spare.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    surveyed : Survey
    """
    split = surveyed.split
    if "val" in split.counts():
        return surveyed
    train = [number for number, row in enumerate(split.rows) if row.part == "train"]
    indices, digests = [surveyed.indices[row] for row in train], [split.rows[row].sha256 for row in train]
    groups = groups_of(request.silent(), recipe, indices, digests)
    inner = Split.make(
        [replace(request.folder.files[index], part=None) for index in indices],
        # Hashed again: the images with low digests are in the test set already.
        [hashlib.sha256(f"val:{digest}".encode()).hexdigest() for digest in digests],
        test=0.0,
        val=recipe.split.val,
        seed=recipe.split.seed,
        task=split.task,
        groups=groups and [name and f"val:{name}" for name in groups],
    )
    rows = [*split.rows]
    for number, row in zip(train, inner.rows, strict=True):
        rows[number] = replace(split.rows[number], part=row.part)
    return replace(surveyed, split=replace(split, rows=tuple(rows)))
