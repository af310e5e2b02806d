"""Rank the layers of one network: cross-validated score of a classifier on the features of each depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_cli.inference import network_sources
from transfer_cli.inference.compiled_network import CompiledNetwork, NetworkSource
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.progress import Progress
from transfer_cli.ranking.layer_plot import plot_layers
from transfer_cli.ranking.layer_results import DepthScore, LayerRanking
from transfer_cli.ranking.options import IMAGES
from transfer_cli.ranking.probe import ProbeScore, cross_validate
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.setup.claim import check_weights_available, report_folder, sample_warnings_of
from transfer_cli.training.setup.labelled_features import LabelledFeatures, check_grouping, labelled_features
from transfer_cli.training.setup.resolve import resolve_recipe

if TYPE_CHECKING:
    from transfer_cli.models.depth_features import Depth

VERSION = 1
"""Increased whenever the same network has other features of its depths."""


def rank_layers(request: TrainingRequest, recipe: ExtractRecipe, target: Path, *, images: int = IMAGES) -> LayerRanking:
    """Compare the features of each depth of a network, from shallow to deep, and its joined levels.

    The default classifier of `extract` is cross-validated on the pooled feature map of each depth (see
    `models.depth_features`), and on the joined levels; images of one group are in the same fold. One pass over the
    images computes the features of all depths, which are cached. Test images are not decoded, and nothing but the plot
    is written.

    The best depth has the lowest out-of-fold log loss. It is selected from many, so its score is slightly optimistic.

    Parameters
    ----------
    request : TrainingRequest
        Its run is ignored.
    recipe : ExtractRecipe
        With the network. Its pooling and its classifier are ignored.
    target : Path
        The PNG file to write.
    images : int
        Maximum number of images.

    Raises
    ------
    InputError
        If the recipe groups near-duplicates.
    FolderError
        If there are too few images.
    ModelError
        If the network has no feature maps.
    WeightsError
        If the pretrained weights are missing and cannot be downloaded.
    """
    # An earlier run in the same place must not determine the split.
    request = replace(request, run=RunDirectory(target.with_name(f".{target.name}.run")))
    recipe = resolve_recipe(request, recipe.with_settings("backbone", pooling="levels"), keeps_model=True)
    check_grouping(recipe.split.group_by)
    check_weights(recipe.backbone.weights, recipe.spec)
    check_weights_available(request, recipe)
    report_folder(request)
    for line in sample_warnings_of(request, recipe):
        request.progress.warn(line)
    source = depth_source(recipe, offline=request.offline, progress=request.progress)
    network = CompiledNetwork.build(source, recipe.inference, request.cache, request.progress)
    labelled = labelled_features(request, recipe, network, images)
    # The first use of the network starts TensorFlow without its messages; the import would start it with them.
    keras_network = network.network
    from transfer_cli.models.depth_features import depths_of

    depths, joined = _scores(labelled, depths_of(keras_network), recipe.seed, request.progress)
    ranking = LayerRanking(
        request.folder.source,
        recipe.backbone.name,
        recipe.backbone.weights,
        len(labelled.truth),
        labelled.classes,
        recipe.seed,
        depths,
        joined,
        labelled.skipped,
    )
    plot_layers(ranking, target)
    return ranking


def depth_source(recipe: ExtractRecipe, *, offline: bool, progress: Progress) -> NetworkSource:
    """Return the network of a resolved recipe, from images to the features of all depths.

    Parameters
    ----------
    recipe : ExtractRecipe
        With the pooling ``levels``.
    offline : bool
    progress : Progress
    """
    source = network_sources.backbone_source(recipe, offline=offline, progress=progress)

    def build() -> Any:
        from transfer_cli.models.depth_features import pool_depths

        return pool_depths(source.build())

    return replace(source, facts={**source.facts, "depths": VERSION}, build=build)


def _scores(
    images: LabelledFeatures, depths: list[Depth], seed: int, progress: Progress
) -> tuple[tuple[DepthScore, ...], ProbeScore]:
    """Return the scores of each depth, and of the joined levels."""
    levels = np.r_[tuple(each.columns for each in depths if each.is_level)]
    scores = []
    with progress.track("cross-validating on each layer", len(depths) + 1) as advance:
        for columns in [*(each.columns for each in depths), levels]:
            features = np.ascontiguousarray(images.features[:, columns])
            scores.append(cross_validate(features, images.truth, images.groups, images.classes, seed))
            advance(1)
    return tuple(map(DepthScore, depths, scores)), scores[-1]
