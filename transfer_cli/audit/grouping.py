"""Which pictures of a folder have to be in one part, by what the recipe says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import backbones
from transfer_cli.data import groups
from transfer_cli.inference import network_sources
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest

Features = Callable[[], tuple[Sequence[int], NDArray[np.float32]]]
"""Positions in the folder of the pictures whose features there are, and these, of shape (n, width)."""


def groups_of(
    request: TrainingRequest,
    recipe: Recipe,
    indices: Sequence[int],
    digests: Sequence[str],
    features: Features | None = None,
) -> list[str | None] | None:
    """Return the group of each picture, None for one without relatives; None where the recipe does not group.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    indices : sequence of int
        Positions in the folder of the pictures that could be read.
    digests : sequence of str
    features : callable, optional
        Where they are had from, if near duplicates are asked for; the backbone's, through the cache, where it is not
        given.
    """
    text = recipe.split.group_by
    if text is None:
        return None
    files = request.folder.files
    paths = [files[index].path for index in indices]
    if text == groups.NEAR_DUPLICATES:
        found = _copies(request, paths, digests, features or (lambda: folder_features(request, recipe)))
    else:
        found = groups.by_pattern(paths, text)
    request.progress.note(groups.summary(found, text))
    return found


def _copies(
    request: TrainingRequest, paths: Sequence[str], digests: Sequence[str], features: Features
) -> list[str | None]:
    from transfer_cli.audit import duplicates
    from transfer_cli.audit.image_stats import look

    places, matrix = features()
    row_of = {request.folder.files[place].path: row for row, place in enumerate(places)}
    looks = look([path for path in paths if path in row_of], request.folder.root, request.progress)
    rows = [row_of[path] for path in looks.paths]
    twice = duplicates.find(looks, matrix[rows], progress=request.progress)
    return groups.by_members(paths, digests, twice.groups)


def folder_features(
    request: TrainingRequest, recipe: Recipe, network: CompiledNetwork | None = None
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the features of the pictures of a folder that can be read, by the backbone as it is, through the cache.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    network : Prepared, optional
        The backbone of the recipe, where it is ready already.
    """
    from transfer_cli.features.extraction import KnownFeatures

    network = network or prepared(request, recipe)
    known = KnownFeatures(request, recipe, network)
    matrix = np.empty((len(request.folder.files), network.width), np.float32)
    places: list[int] = []
    try:
        with request.progress.track(f"features by {recipe.backbone.name} on {network.runtime}", len(matrix)) as advance:
            for batch in known.batches():
                matrix[len(places) : len(places) + len(batch.indices)] = known.rows(batch)
                places += batch.indices
                advance(len(batch.indices) + len(batch.skipped))
        known.check()
    finally:
        known.close()
    return places, matrix[: len(places)]


def prepared(request: TrainingRequest, recipe: Recipe) -> CompiledNetwork:
    """Return the backbone of a resolved recipe, ready to run."""
    source = network_sources.backbone_source(
        backbones.find(recipe.backbone.name),
        recipe.backbone,
        recipe.image_size,
        seed=recipe.seed,
        offline=request.offline,
        progress=request.progress,
    )
    return CompiledNetwork(source, recipe.inference, request.cache, request.progress)
