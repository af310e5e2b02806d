"""The images outside the test set, with their features, labels and groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.grouping import read_folder_features
from transfer_cli.classifiers.folds import Groups, Truth, single_rows
from transfer_cli.classifiers.stratified_sample import stratified_sample
from transfer_cli.data.groups import NEAR_DUPLICATES, assign_group_ids, groups_of_rows
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import FolderError, InputError
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted
from transfer_cli.training.setup.preflight import survey


@dataclass(frozen=True)
class LabelledFeatures:
    """The features of images with their labels and groups.

    Attributes
    ----------
    features : ndarray of shape (n, width), float32
    truth : ndarray of shape (n,) or (n, k), int
    groups : ndarray of shape (n,), int
        Images with the same number belong to one group.
    classes : int
    skipped : tuple of Skipped
        Files outside the test set that could not be read.
    """

    features: NDArray[np.float32]
    truth: Truth
    groups: Groups
    classes: int
    skipped: tuple[Skipped, ...]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which images can be scored: another group has their class, too."""
        return ~single_rows(self.truth, self.groups)


def check_grouping(group_by: str | None) -> None:
    """Raise InputError if groups are near-duplicates: to find them, test images would be decoded."""
    if group_by == NEAR_DUPLICATES:
        raise InputError(
            "This command cannot group by near-duplicates: it does not look at the test images.",
            hint="First write the split: transfer-cli data split FOLDER --group-by near-duplicates; then use --split.",
        )


def labelled_features(
    request: TrainingRequest, recipe: ExtractRecipe, network: CompiledNetwork | None = None, images: int | None = None
) -> LabelledFeatures:
    """Return the features of images that are not in the test set of the split that `recipe` would make.

    Test images are not decoded. The features are read through the cache.

    Parameters
    ----------
    request : TrainingRequest
    recipe : ExtractRecipe
        Resolved.
    network : CompiledNetwork, optional
        Computes the features. [the backbone of the recipe, as for `extract`]
    images : int, optional
        Maximum number of images: a stratified sample. [all]

    Raises
    ------
    InputError
        If the groups are near-duplicates.
    FolderError
        If there are too few images outside the test set.
    """
    by = recipe.split.group_by
    check_grouping(by)
    surveyed = survey(request, recipe, decodes=False)
    digests = [row.sha256 for row in surveyed.split.rows]
    every, rows = surveyed.split.truth(), np.flatnonzero(~surveyed.split.mask("test"))
    if images is not None and images < len(rows):
        rows = rows[stratified_sample([digests[row] for row in rows], every[rows], images, recipe.seed)]
    files = tuple(request.folder.files[surveyed.indices[row]] for row in rows)
    request.progress.note(f"using {counted(len(files), 'image')} (none from test)")
    read = read_folder_features(replace(request, folder=replace(request.folder, files=files)), recipe, network)
    rows = rows[read.places]
    group_ids = assign_group_ids(digests, None if by is None else groups_of_rows(surveyed.split.rows, by))
    # With random weights features may underflow, and of an untrained network they may overflow.
    features, truth = np.nan_to_num(read.features), every[rows]
    result = LabelledFeatures(features, truth, group_ids[rows], len(surveyed.split.class_names), read.skipped)
    if not result.scored.any() or (truth.ndim == 1 and len(np.unique(truth)) < 2):
        raise FolderError(
            f"Too few images in {request.folder.source}. Expected two classes with two images each outside the test "
            "set.",
            hint="Add images.",
        )
    return result
