"""The train/val/test split of the images of a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from transfer_cli.audit.grouping import Features, groups_of
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.data import given_split
from transfer_cli.data import groups as grouping
from transfer_cli.data.skipped import Skipped, write_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import FolderError
from transfer_cli.features.table import ExtractionResult
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted, listed
from transfer_cli.training.setup.image_store import Decoded


def make_split(
    request: TrainingRequest, recipe: Recipe, read: Decoded | ExtractionResult, features: Features | None = None
) -> tuple[Split, list[str | None] | None]:
    """Return the split of the images that could be read, and the group of each (see `audit.grouping.groups_of`).

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
    read : Decoded or ExtractionResult
    features : callable, optional
        Provides the features to search near-duplicates by.

    Raises
    ------
    FolderError
        If too few images can be read to train a classifier.
    """
    folder, parts = request.folder, recipe.split
    if not folder.is_labelled:
        return Split.without_labels([folder.files[index] for index in read.indices], read.digests), None
    groups = groups_of(request, recipe, read.indices, read.digests, features)
    files = [folder.files[index] for index in read.indices]
    existing = request.split or _earlier(request)
    if request.split is not None and not request.split.has_any(files, read.digests):
        raise given_split.matches_nothing(None, request.split, folder)
    make = partial(
        Split.make,
        files,
        read.digests,
        test=parts.test,
        val=parts.val,
        seed=parts.seed,
        task=folder.task,
        groups=groups,
    )
    split = make(existing=existing)
    if request.split is None and request.run.split.is_file():
        # After an interruption the run tells how its first start made the split, unless the images have changed since.
        first = make(existing=given_split.of_folder(folder, lambda note: None))
        split = first if first.rows == split.rows else split
    if groups is not None:
        shares = grouping.share_warnings(groups, split, test=parts.test, val=parts.val)
        for line in [*grouping.warnings(groups, split), *shares]:
            request.progress.warn(line)
    _check_trainable(request, split, read.skipped)
    return split, groups


def _earlier(request: TrainingRequest) -> Split | None:
    """Return the split of an earlier run in the same place, else the one in the image folder."""
    if request.run.split.is_file() and (earlier := Split.read(request.run.split)).is_labelled:
        return earlier
    return given_split.of_folder(request.folder, request.progress.note)


def write_split(request: TrainingRequest, split: Split, skipped: Sequence[Skipped]) -> None:
    """Write split.csv and skipped.csv, and report the numbers of images and any warnings."""
    split.write(request.run.split)
    write_skipped(request.run.skipped, skipped)
    if not split.is_labelled:
        return
    request.progress.note(split.summary())
    for line in split.warnings():
        request.progress.warn(line)


def warn_of_few_images(request: TrainingRequest, split: Split, least: int) -> None:
    """Warn if a class has fewer than `least` training images."""
    label, fewest = min(split.training_counts().items(), key=lambda item: item[1])
    if fewest < least:
        tested = counted(split.counts().get("test", 0), "test image")
        request.progress.warn(
            f"few images: class {label} has {counted(fewest, 'training image')}. Expect a rough classifier, and a "
            f"rough score: it is computed on {tested} (see its interval). Adding images helps most"
        )


def _check_trainable(request: TrainingRequest, split: Split, skipped: Sequence[Skipped]) -> None:
    names, readable = request.folder.class_names, set(split.class_names)
    trained = {name for name, count in split.training_counts().items() if count}
    if missing := [name for name in names if name in readable - trained]:
        raise FolderError(
            f"No training image could be read for: {listed(missing, 20)}. Expected at least one per class."
        )
    # One label is enough if some images do not have it: presence and absence.
    absent = split.task == MULTI_LABEL and any(row.part == "train" and not row.labels for row in split.rows)
    if len(trained) + absent < 2:
        unread = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:5])
        raise FolderError(
            f"A classifier needs at least two classes. Received: readable images of {len(trained)}; "
            f"{counted(len(split.rows), 'image')} of {request.folder.source} could be read, "
            f"{len(skipped)} could not.{unread}"
        )
    for name in names:
        if name not in readable:
            request.progress.warn(f"class {name} is left out: none of its images could be read")
