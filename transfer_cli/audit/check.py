"""`data check`: find problems of an image folder before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.duplicates import find_duplicates
from transfer_cli.audit.findings import Findings
from transfer_cli.audit.image_quality import quality_issues
from transfer_cli.audit.image_stats import ImageStats, measure_images
from transfer_cli.audit.label_issues import LabelIssue
from transfer_cli.data.decoding import stored_size
from transfer_cli.data.groups import assign_group_ids, groups_by_members
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import OutputError, WeightsError
from transfer_cli.io.atomic import check_replaceable, check_writable
from transfer_cli.models.weights.registry import feature_files, require_available
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.scoring import truth_of

FILES = ("check.json", "check.html", "suspects.csv", "duplicates.csv")


def check_free(target: Path, folder: ImageFolder) -> None:
    """Raise OutputError if the findings cannot be written to `target` without touching the images or other files."""
    hint = "Choose a folder that does not exist yet, outside of the images: -o DIR"
    if folder.source == folder.root and target.resolve().is_relative_to(folder.root.resolve()):
        raise OutputError(f"The output folder {target} is inside the image folder {folder.root}.", hint=hint)
    for table in folder.selection.tables():
        if table.resolve().is_relative_to(target.resolve()):
            raise OutputError(f"{table} is in {target}, which the new check would replace.", hint=hint)
    is_used = any(target.iterdir()) if target.is_dir() else target.exists()
    if is_used and not (target / "check.json").is_file():
        raise OutputError(f"{target} already exists and is not the output of an earlier check.", hint=hint)
    check_replaceable(target, lambda path: path.name in FILES, "a check")
    # The new folder is written beside the old one.
    check_writable(target.with_name(f"{target.name}.new") if target.exists() else target)


def check(request: TrainingRequest, recipe: ExtractRecipe, *, probe: bool = True) -> Findings:
    """Return the problems of an image folder.

    Parameters
    ----------
    request : TrainingRequest
    recipe : ExtractRecipe
        Resolved; its backbone computes the features.
    probe : bool
        Use a network to find label issues and cropped duplicates.
    """
    folder = request.folder
    if probe:
        _require_weights(request, recipe)
    stats = measure_images([file.path for file in folder.files], folder.root, request.progress, recipe.images.bit_depth)
    features = None
    if probe and stats.paths:
        stats, features = _features(request, recipe, stats)
    duplicates = find_duplicates(stats, features, progress=request.progress)
    issues, reason = None, "--no-probe was given" if not probe else "no image can be read"
    if features is not None:
        # A duplicate in another fold would vouch for the label.
        groups = assign_group_ids(stats.digests, groups_by_members(stats.paths, stats.digests, duplicates.groups))
        issues, reason = _label_issues(request, recipe, stats, features, groups)
    quality = quality_issues(stats, [stored_size(folder.root / path) for path in stats.paths])
    return Findings(folder, stats.skipped, quality, duplicates, issues, reason, recipe.images.bit_depth)


def _require_weights(request: TrainingRequest, recipe: ExtractRecipe) -> None:
    if recipe.backbone.weights != "imagenet":
        return
    files = feature_files(recipe.spec, recipe.backbone.layer, size=recipe.image_size)
    try:
        require_available(files, offline=request.offline, size=recipe.image_size)
    except WeightsError as error:
        hint = f"{error.hint or ''}\nOr check without a neural network: --no-probe".strip()
        raise WeightsError(str(error), hint=hint) from error


def _features(
    request: TrainingRequest, recipe: ExtractRecipe, stats: ImageStats
) -> tuple[ImageStats, NDArray[np.float32]]:
    """Return the features of the images, and the statistics of the images that have features.

    A file may have disappeared since its statistics were computed.
    """
    from transfer_cli.audit.grouping import folder_features

    places, matrix = folder_features(request, recipe)
    row_of = {place: row for row, place in enumerate(places)}
    rows = [row for row, place in enumerate(stats.indices) if place in row_of]
    stats = stats if len(rows) == len(stats.paths) else stats.select(rows)
    return stats, matrix[[row_of[place] for place in stats.indices]]


def _label_issues(
    request: TrainingRequest,
    recipe: ExtractRecipe,
    stats: ImageStats,
    features: NDArray[np.float32],
    groups: NDArray[np.int64],
) -> tuple[tuple[LabelIssue, ...] | None, str]:
    """Return the label issues, or None and the reason why labels cannot be checked."""
    from transfer_cli.audit.label_issues import label_issues, out_of_fold

    files = [request.folder.files[index] for index in stats.indices]
    names = tuple(name for name in request.folder.class_names if any(name in file.labels for file in files))
    if not request.folder.is_labelled:
        return None, "the images have no labels"
    if len(names) < 2:
        return None, "only images of one class can be read"
    truth = truth_of([file.labels for file in files], names, request.folder.task)
    probabilities = out_of_fold(features, truth, len(names), groups=groups, seed=recipe.seed, progress=request.progress)
    return label_issues(stats.paths, truth, names, probabilities), ""
