"""The map of an ensemble: the mean of its members' maps, each in the view that the member has of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.explainers import ExplainerSpec, Maps
from transfer_cli.data.views import View
from transfer_cli.explain.grad_cam import Gradients
from transfer_cli.explain.multi_view import Seen, highest_is_one, moved

_BY_WEIGHT = (ensemble_methods.AVERAGE, ensemble_methods.WEIGHTED, ensemble_methods.GREEDY)


@dataclass(frozen=True)
class MemberMaps:
    """What makes the map of one member, and what it counts.

    Attributes
    ----------
    share : float
        Those of all members add up to 1.
    view : View
    gradients : Gradients
    """

    share: float
    view: View
    gradients: Gradients


def members_of(opened: OpenedBundle) -> list[MemberMaps]:
    """Return what makes the maps of the models within an ensemble.

    Raises
    ------
    ModelError
        When one of them has no gradient, or no map.
    """
    return [
        MemberMaps(
            share,
            View(leaf.bundle.image_size, leaf.bundle.resize),
            Gradients.of_bundle(leaf.bundle, leaf.directory),
        )
        for share, leaf in shares_of(opened)
    ]


def shares_of(opened: OpenedBundle, share: float = 1.0) -> list[tuple[float, OpenedBundle]]:
    """Return each model within an ensemble, and what its map counts: as much as its probabilities do.

    The votes of all members count the same. A stack has no weight a member: what a logistic regression makes of a
    member's answer differs from class to class, and so all of them count the same there, too.
    """
    if not opened.members:
        return [(share, opened)]
    weights = [member.weight for member in opened.bundle.members]
    if opened.bundle.combination not in _BY_WEIGHT or not sum(weights):
        weights = [1.0] * len(weights)
    return [
        found
        for weight, member in zip(weights, opened.members, strict=True)
        for found in shares_of(member, share * weight / sum(weights))
    ]


def mean_maps(
    members: Sequence[MemberMaps], images: Sequence[Seen], columns: NDArray[np.int64], spec: ExplainerSpec
) -> Maps:
    """Return where pictures speak for some classes, on the finest grid that a member has.

    Parameters
    ----------
    members : sequence of MemberMaps
    images : sequence of Seen
        One or more, seen in the same ways.
    columns : ndarray of shape (n, m), int
        The classes of each picture.
    spec : ExplainerSpec
        One that needs a gradient.

    Returns
    -------
    ndarray of shape (n, m, g, g), float32
        Over the first view. Each member's map has 1 at its highest place before the mean is taken.
    """
    first = images[0].views
    side = max(max(member.gradients.shape[:2]) for member in members)
    mean = np.zeros((*columns.shape, side, side), np.float32)
    for member in members:
        place = first.index(member.view)
        maps = highest_is_one(member.gradients.maps(np.stack([seen.images[place] for seen in images]), columns, spec))
        for number, seen in enumerate(images):
            for column, map_ in enumerate(maps[number]):
                mean[number, column] += member.share * moved(map_, member.view, first[0], seen.ratio, side)
    return mean


def counted_as(bundle: ModelBundle) -> str:
    """Return what the members' maps count, in words."""
    if bundle.combination in _BY_WEIGHT:
        return "each of which counts what its probabilities do"
    return f"each of which counts the same, since a {bundle.combination} gives its members no weights"
