"""Validation images that are taken from the training set of a split without a validation set."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import Survey


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
