"""The pictures by which backbones are compared: none of the test part, of all classes, the same ones each time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import dealt_by, single_rows
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, by_pattern
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import FolderError, InputError
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import survey

_READ_AT = 32
_OF_EACH = 5
"""So many pictures of each class are taken before the classes get their shares: one a fold."""


@dataclass(frozen=True)
class RankingSample:
    """Some pictures of a folder, and what they show.

    Attributes
    ----------
    folder : ImageFolder
        Of these pictures alone.
    digests : tuple of str
    truth : ndarray of shape (n,) or (n, k), int
    classes : int
    assign_group_ids : ndarray of shape (n,), int
        A number for each: relatives have the same.
    skipped : tuple of Skipped
        Of the whole folder.
    """

    folder: ImageFolder
    digests: tuple[str, ...]
    truth: NDArray[np.int64]
    classes: int
    assign_group_ids: NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    @property
    def digest(self) -> str:
        """What tells these pictures, their labels and their relatives from others, in hexadecimal."""
        rows = zip(self.digests, self.truth.tolist(), self.assign_group_ids.tolist(), strict=True)
        return hashlib.sha256(repr(list(rows)).encode()).hexdigest()


def ranking_sample(request: TrainingRequest, recipe: ExtractRecipe, count: int) -> RankingSample:
    """Return at most `count` pictures of a folder that are not test, by the split that a run with `recipe` would make.

    They are chosen class by class by their digest and the recipe's seed: a picture that is added moves few others.

    Parameters
    ----------
    request : Request
    recipe : ExtractRecipe
        Resolved, for any backbone.
    count : int

    Raises
    ------
    InputError
        When relatives are to be found by features: those of which backbone is not decided yet.
    FolderError
        When too few pictures can be read, or no class has two that are not test.
    """
    if recipe.split.group_by == NEAR_DUPLICATES:
        raise InputError(
            "rank cannot group by near-duplicates: they are found by the features of a backbone, and none is chosen "
            "yet.",
            hint="Write the parts down first: transfer-cli data split FOLDER --group-by near-duplicates, then --split",
        )
    # Whether a picture can be read does not depend on the size that is asked for.
    small = recipe.model_copy(update={"images": recipe.images.model_copy(update={"size": _READ_AT})})
    found = survey(request, small, decodes=True)
    digests = [row.sha256 for row in found.split.rows]
    paths = [row.path for row in found.split.rows]
    groups = None if recipe.split.group_by is None else by_pattern(paths, recipe.split.group_by)
    truth, group_ids = found.split.truth(), assign_group_ids(digests, groups)
    free = np.flatnonzero(~found.split.mask("test"))
    chosen = free[_choice([digests[row] for row in free], truth[free], count, recipe.seed)]
    if single_rows(truth[chosen], group_ids[chosen]).all():
        raise FolderError(
            f"Nothing can be compared: no class of {request.folder.source} has two pictures that can be learnt from. "
            "Expected two or more of some class beside those that are test.",
            hint="Add pictures, or start from the default: transfer-cli extract FOLDER",
        )
    files = tuple(request.folder.files[found.indices[row]] for row in chosen)
    return RankingSample(
        replace(request.folder, files=files),
        tuple(digests[row] for row in chosen),
        truth[chosen],
        len(found.split.class_names),
        np.unique(group_ids[chosen], return_inverse=True)[1],
        found.skipped,
    )


def _choice(digests: list[str], truth: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows that are taken, in order: each class by its share, but some of each first."""
    salted = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in digests]
    order = np.array(sorted(range(len(digests)), key=salted.__getitem__), np.int64)
    kinds = dealt_by(truth)
    turn, share = np.empty(len(digests), np.int64), np.empty(len(digests))
    for kind in np.unique(kinds):
        rows = order[kinds[order] == kind]
        turn[rows] = np.minimum(np.arange(len(rows)), _OF_EACH)
        share[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    rank = np.empty(len(digests), np.int64)
    rank[order] = np.arange(len(digests))
    return np.sort(np.lexsort((rank, share, turn))[:count])
