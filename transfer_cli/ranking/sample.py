"""Select the images of a ranking: reproducibly, from all classes, none from test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.classifiers.folds import single_rows
from transfer_cli.classifiers.stratified_sample import stratified_sample
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, groups_of_rows
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import FolderError, InputError
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import survey

_READ_SIZE = 32


@dataclass(frozen=True)
class RankingSample:
    """Some images of a folder, with their labels.

    Attributes
    ----------
    folder : ImageFolder
        Holds only these images.
    digests : tuple of str
    truth : ndarray of shape (n,) or (n, k), int
    classes : int
    group_ids : ndarray of shape (n,), int
        Images with the same number belong to one group.
    skipped : tuple of Skipped
        Files of the whole folder that could not be read.
    """

    folder: ImageFolder
    digests: tuple[str, ...]
    truth: NDArray[np.int64]
    classes: int
    group_ids: NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the images, their labels and groups, in hexadecimal."""
        rows = zip(self.digests, self.truth.tolist(), self.group_ids.tolist(), strict=True)
        return hashlib.sha256(repr(list(rows)).encode()).hexdigest()


def refuse_near_duplicates(command: str, group_by: str | None) -> None:
    """Raise InputError if groups are near-duplicates, which are found by the features of a backbone."""
    if group_by == NEAR_DUPLICATES:
        raise InputError(
            f"{command} cannot group by near-duplicates: they are found by the features of a backbone, which is not "
            "chosen yet.",
            hint="First write the split: transfer-cli data split FOLDER --group-by near-duplicates; then use --split.",
        )


def ranking_sample(request: TrainingRequest, recipe: ExtractRecipe, count: int) -> RankingSample:
    """Return at most `count` images that are not in the test set of the split that `recipe` would make.

    The sample is stratified. Images are ordered by a hash of their digest and the seed of the recipe, so that a new
    image changes the sample little.

    Parameters
    ----------
    request : TrainingRequest
    recipe : ExtractRecipe
        Resolved, with any backbone.
    count : int

    Raises
    ------
    InputError
        When the groups are near-duplicates, which are found by the features of a backbone.
    FolderError
        When too few images can be read, or no class has two images outside test.
    """
    refuse_near_duplicates("rank", recipe.split.group_by)
    # A small size is enough to find out which images can be read.
    small = recipe.model_copy(update={"images": recipe.images.model_copy(update={"size": _READ_SIZE})})
    surveyed = survey(request, small, decodes=True)
    digests = [row.sha256 for row in surveyed.split.rows]
    by = recipe.split.group_by
    groups = None if by is None else groups_of_rows(surveyed.split.rows, by)
    truth, group_ids = surveyed.split.truth(), assign_group_ids(digests, groups)
    not_test = np.flatnonzero(~surveyed.split.mask("test"))
    selected = not_test[stratified_sample([digests[row] for row in not_test], truth[not_test], count, recipe.seed)]
    if single_rows(truth[selected], group_ids[selected]).all():
        raise FolderError(
            f"Cannot compare backbones: no class of {request.folder.source} has two images outside the test set.",
            hint="Add images, or use the default backbone: transfer-cli extract FOLDER",
        )
    files = tuple(request.folder.files[surveyed.indices[row]] for row in selected)
    return RankingSample(
        replace(request.folder, files=files),
        tuple(digests[row] for row in selected),
        truth[selected],
        len(surveyed.split.class_names),
        np.unique(group_ids[selected], return_inverse=True)[1],
        surveyed.skipped,
    )
