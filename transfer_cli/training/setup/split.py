"""The train/val/test split of the images of a run."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_cli.data import groups as grouping
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped, write_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import FolderError
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


def make_split(
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    digests: Sequence[str],
    skipped: Sequence[Skipped],
    groups: Sequence[str | None] | None = None,
) -> Split:
    """Return the split of the images that could be read.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
    indices : sequence of int
        Positions of the images in the folder.
    digests : sequence of str
        SHA-256 of each file.
    skipped : sequence of Skipped
    groups : sequence of str or None, optional
        The name of the group of each image (see `audit.grouping.groups_of`).

    Raises
    ------
    FolderError
        If too few images can be read to train a classifier.
    """
    folder = request.folder
    split = Split.make(
        [folder.files[index] for index in indices],
        digests,
        test=recipe.split.test,
        val=recipe.split.val,
        seed=recipe.split.seed,
        existing=_existing(request),
        task=folder.task,
        groups=groups,
    )
    if groups is not None:
        shares = grouping.share_warnings(groups, split, test=recipe.split.test, val=recipe.split.val)
        for line in [*grouping.warnings(groups, split), *shares]:
            request.progress.warn(line)
    _check_trainable(folder, split, skipped, request.progress)
    return split


def write_split(request: TrainingRequest, split: Split, skipped: Sequence[Skipped]) -> None:
    """Write split.csv and skipped.csv, and report the numbers of images and any warnings."""
    split.write(request.run.split)
    write_skipped(request.run.skipped, skipped)
    request.progress.note(split.summary())
    for line in split.warnings():
        request.progress.warn(line)


def _existing(request: TrainingRequest) -> Split | None:
    if request.split is not None:
        return request.split
    for path in (request.run.split, request.folder.root / request.run.split.name):
        if path.is_file():
            return Split.read(path)
    return None


def _check_trainable(folder: ImageFolder, split: Split, skipped: Sequence[Skipped], progress: Progress) -> None:
    readable = set(split.class_names)
    trained = {name for name, count in split.training_counts().items() if count}
    if missing := [name for name in folder.class_names if name in readable - trained]:
        raise FolderError(
            f"No training image could be read for: {', '.join(missing)}. Expected at least one per class."
        )
    if len(trained) < 2:
        unread = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:5])
        raise FolderError(
            f"A classifier needs at least two classes. Received: readable images of {len(trained)}; "
            f"{len(split.rows)} images of {folder.source} could be read, {len(skipped)} could not.{unread}"
        )
    for name in folder.class_names:
        if name not in readable:
            progress.warn(f"class {name} is left out: none of its images could be read")
