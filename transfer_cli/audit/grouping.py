"""Which images must stay in one split, according to ``split.group_by`` of the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data import groups
from transfer_cli.data.skipped import Skipped
from transfer_cli.inference import network_sources
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest

Features = Callable[[], tuple[Sequence[int], NDArray[np.float32]]]
"""Returns positions of images in the folder, and their features, of shape (n, width)."""


def groups_of(
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    digests: Sequence[str],
    features: Features | None = None,
) -> list[str | None] | None:
    """Return the group of each image, None for an image without group; None if the recipe does not group.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    indices : sequence of int
        Positions of the readable images in the folder.
    digests : sequence of str
    features : callable, optional
        Provides the features to search near-duplicates by. [features of the backbone, through the cache]
    """
    text = recipe.split.group_by
    if text is None:
        return None
    files = request.folder.files
    paths = [files[index].path for index in indices]
    if text == groups.NEAR_DUPLICATES:
        features = features or (lambda: folder_features(request, recipe))
        result = _near_duplicates(request, paths, digests, features, recipe.images.bit_depth)
    else:
        result = groups.groups_of_rows([files[index] for index in indices], text)
    request.progress.note(groups.summary(result, text))
    return result


def _near_duplicates(
    request: TrainingRequest, paths: Sequence[str], digests: Sequence[str], features: Features, bit_depth: int | None
) -> list[str | None]:
    from transfer_cli.audit.duplicates import find_duplicates
    from transfer_cli.audit.image_stats import measure_images

    places, matrix = features()
    row_of = {request.folder.files[place].path: row for row, place in enumerate(places)}
    known = [path for path in paths if path in row_of]
    stats = measure_images(known, request.folder.root, request.progress, bit_depth)
    rows = [row_of[path] for path in stats.paths]
    duplicates = find_duplicates(stats, matrix[rows], progress=request.progress)
    return groups.groups_by_members(paths, digests, duplicates.groups)


@dataclass(frozen=True)
class FolderFeatures:
    """The features of the images of a folder.

    Attributes
    ----------
    places : list of int
        Positions of the readable images in the folder.
    features : ndarray of shape (n, width), float32
    skipped : tuple of Skipped
        Files that could not be read.
    """

    places: list[int]
    features: NDArray[np.float32]
    skipped: tuple[Skipped, ...]


def folder_features(
    request: TrainingRequest, recipe: Recipe, network: CompiledNetwork | None = None
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the positions of the readable images of a folder, and their features (see `read_folder_features`)."""
    read = read_folder_features(request, recipe, network)
    return read.places, read.features


def read_folder_features(
    request: TrainingRequest, recipe: Recipe, network: CompiledNetwork | None = None
) -> FolderFeatures:
    """Return the features of the readable images of a folder, by the pretrained backbone, through the cache.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    network : CompiledNetwork, optional
        The backbone of the recipe, if it is already compiled.
    """
    from transfer_cli.features.extraction import FeatureExtractor

    network = network or compiled_backbone(request, recipe)
    matrix = np.empty((len(request.folder.files), network.width), np.float32)
    places: list[int] = []
    skipped: list[Skipped] = []
    with closing(FeatureExtractor(request, recipe, network)) as extractor:
        with request.progress.track(f"features by {recipe.backbone.name} on {network.runtime}", len(matrix)) as advance:
            for batch in extractor.batches():
                matrix[len(places) : len(places) + len(batch.indices)] = extractor.rows(batch)
                places += batch.indices
                skipped += batch.skipped
                advance(len(batch.indices) + len(batch.skipped))
        extractor.check()
    return FolderFeatures(places, matrix[: len(places)], tuple(skipped))


def compiled_backbone(request: TrainingRequest, recipe: Recipe) -> CompiledNetwork:
    """Return the backbone of a resolved recipe, ready to run."""
    source = network_sources.backbone_source(recipe, offline=request.offline, progress=request.progress)
    return CompiledNetwork.build(source, recipe.inference, request.cache, request.progress)
