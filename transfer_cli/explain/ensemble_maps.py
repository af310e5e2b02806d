"""Saliency maps of an ensemble: the weighted mean of its members' maps, each computed in the member's view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.explainers import ExplainerSpec, Maps
from transfer_cli.data.views import View
from transfer_cli.explain.class_logits import bundle_logits
from transfer_cli.explain.grad_cam import Gradients
from transfer_cli.explain.multi_view import ViewedImage, map_to_view, normalize_maps

_WEIGHTED = (ensemble_methods.AVERAGE, ensemble_methods.WEIGHTED, ensemble_methods.GREEDY)


@dataclass(frozen=True)
class MemberGradients:
    """The gradients of one ensemble member, its view, and its weight in the mean map; the weights add up to 1."""

    weight: float
    view: View
    gradients: Gradients


def member_gradients(opened: OpenedBundle) -> list[MemberGradients]:
    """Return the gradients of all models in an ensemble; raise ModelError if one of them is not differentiable."""
    return [
        MemberGradients(weight, leaf.views[0], Gradients.build(*bundle_logits(leaf)))
        for weight, leaf in weighted_leaves(opened)
    ]


def weighted_leaves(opened: OpenedBundle, total: float = 1.0) -> list[tuple[float, OpenedBundle]]:
    """Return each model in an ensemble with its weight in the mean map: the weight of its probabilities.

    Voting and stacking have no weight per member (a stacking classifier weights a member differently for each class),
    so that all members get the same weight.
    """
    if not opened.members:
        return [(total, opened)]
    weights = [member.weight for member in opened.bundle.members]
    if opened.bundle.combination not in _WEIGHTED or not sum(weights):
        weights = [1.0] * len(weights)
    return [
        leaf
        for weight, member in zip(weights, opened.members, strict=True)
        for leaf in weighted_leaves(member, total * weight / sum(weights))
    ]


def mean_maps(
    members: Sequence[MemberGradients], images: Sequence[ViewedImage], columns: NDArray[np.int64], spec: ExplainerSpec
) -> Maps:
    """Return the mean saliency maps, with the highest resolution among the members.

    Parameters
    ----------
    members : sequence of MemberGradients
    images : sequence of ViewedImage
        At least one; all have the same views.
    columns : ndarray of shape (n, m), int
        The classes to explain, per image.
    spec : ExplainerSpec
        A method that needs a gradient.

    Returns
    -------
    ndarray of shape (n, m, g, g), float32
        In the first view. Each member's map is divided by its maximum before averaging.
    """
    views = images[0].views
    side = max(max(member.gradients.shape[:2]) for member in members)
    mean = np.zeros((*columns.shape, side, side), np.float32)
    for member in members:
        view = views.index(member.view)
        inputs = np.stack([image.images[view] for image in images])
        maps = normalize_maps(member.gradients.maps(inputs, columns, spec))
        for row, image in enumerate(images):
            for column, map_ in enumerate(maps[row]):
                resampled = map_to_view(map_, member.view, views[0], image.aspect_ratio, side)
                mean[row, column] += member.weight * resampled
    return mean


def weighting_summary(bundle: ModelBundle) -> str:
    """Return how the members' maps are weighted, as text."""
    if bundle.combination in _WEIGHTED:
        return "weighted like their probabilities"
    return f"all with the same weight, because a {bundle.combination} ensemble has no weight per member"
