"""What a training without labels cannot have: a classifier, and a split of its images."""

from __future__ import annotations

from transfer_cli.catalog import classifiers
from transfer_cli.errors import FolderError, InputError
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest


def check_needs_no_labels(request: TrainingRequest, recipe: ExtractRecipe) -> None:
    """Raise an error if a training on images without labels needs them.

    Raises
    ------
    FolderError
        If a classifier is to be trained.
    InputError
        If the images are to be split: without labels nothing is trained or tested.
    """
    folder = request.folder
    if recipe.classifier.name != classifiers.NONE:
        raise FolderError(
            f"A classifier needs labels. Received images without labels: {folder.unlabelled_reason}",
            hint="To extract their features only: --classifier none",
        )
    given = [name for name, value in (("--split", request.split), ("--group-by", recipe.split.group_by)) if value]
    if given:
        raise InputError(
            f"{' and '.join(given)} split the images of classes, and {folder.source} has images without labels.",
            hint=f"Leave out {' and '.join(given)}. To list near-duplicates: transfer-cli data check",
        )
