"""Pictures of train to compare by, where a split holds none out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from transfer_cli.audit.grouping import groups_of
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import Survey


def with_val(request: TrainingRequest, recipe: Recipe, found: Survey) -> Survey:
    """Return a survey with a val part: its own, or the recipe's share of its pictures of train.

    Those are chosen by their digests, as in any split; relatives stay together, and a picture of test stays there. The
    val part stays empty where no class has a picture to spare.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    found : Survey
    """
    split = found.split
    if "val" in split.counts():
        return found
    rows = [number for number, row in enumerate(split.rows) if row.part == "train"]
    indices, digests = [found.indices[row] for row in rows], [split.rows[row].sha256 for row in rows]
    groups = groups_of(request.silent(), recipe, indices, digests)
    parted = Split.make(
        [replace(request.folder.files[index], part=None) for index in indices],
        # Drawn anew: those that come early by their own digests are in test already.
        [hashlib.sha256(f"val:{digest}".encode()).hexdigest() for digest in digests],
        test=0.0,
        val=recipe.split.val,
        seed=recipe.split.seed,
        task=split.task,
        groups=groups and [name and f"val:{name}" for name in groups],
    )
    whole = [*split.rows]
    for row, again in zip(rows, parted.rows, strict=True):
        whole[row] = replace(split.rows[row], part=again.part)
    return replace(found, split=replace(split, rows=tuple(whole)))
