"""Leakage between two runs: test images of a training whose network was trained on them before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.split import Split
from transfer_cli.io.csv_tables import write_table
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.earlier_images import read_earlier_images
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted, shell_command

_SHOWN = 3


def seen_by_earlier_run(request: TrainingRequest, recipe: Recipe, split: Split) -> NDArray[np.bool_]:
    """Return which test images (without a test set: validation images) an earlier run was trained on.

    They are reported, and listed in leaks_of_earlier_run.csv.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved; its weights name the earlier run.
    split : Split
    """
    seen = np.zeros(len(split.rows), bool)
    images = read_earlier_images(request.run) if recipe.backbone.starts_from_run else None
    part = "test" if "test" in split.counts() else "val"
    if images is None or part not in split.counts():
        return seen
    roles = images.roles_of([row.sha256 for row in split.rows])
    seen = np.array([row.part == part and role == "train" for row, role in zip(split.rows, roles, strict=True)], bool)
    rows = [split.rows[row] for row in np.flatnonzero(seen)]
    if not rows:
        return seen
    target, earlier = request.run.earlier_leaks, recipe.backbone.weights
    write_table(target, ("path", "split", "label"), [(row.path, row.part, row.truth) for row in rows])
    held, name = int(split.mask(part).sum()), "test" if part == "test" else "validation"
    request.run.log("earlier_leakage", part=part, images=len(rows), run=earlier)
    examples = "; ".join(row.path for row in rows[:_SHOWN]) + ("; ..." if rows[_SHOWN:] else "")
    request.progress.warn(
        f"data leakage: {len(rows)} of {counted(held, f'{name} image')} were training images of {earlier}, from which "
        f"this network starts, so the score is too high: {examples} (listed in {target}){_remedy(Path(earlier))}"
    )
    return seen


def _remedy(earlier: Path) -> str:
    """Return how to split the images as the earlier run did, if it is a run and not only its bundle."""
    table = RunDirectory(earlier).split
    if not table.is_file():
        return ""
    return f". To have the same test images: --split {shell_command(table)}"
