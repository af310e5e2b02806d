"""An ensemble: several models whose probabilities are combined into one prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.catalog import ensemble_methods
from transfer_cli.classifiers.linear import Linear
from transfer_cli.inference.models import AbstractModel, FeatureModel, Features, Images, Probabilities

MemberProbabilities = NDArray[np.float32]
"""Probabilities by m models for n images, of shape (m, n, k)."""

Combiner = Callable[[MemberProbabilities], NDArray[np.float32]]
"""Combines probabilities of shape (m, n, k) into one array of shape (n, k)."""

MIN_PROBABILITY = 1e-6
"""Smaller probabilities are replaced by it before the logarithm is taken."""

_SharedFeatures = dict[tuple[int, int], Features]
"""Features by network and view."""


def weighted_mean(probabilities: MemberProbabilities, weights: Sequence[float]) -> NDArray[np.float32]:
    """Return the weighted mean over the members, of shape (n, k); the weights need not sum to 1."""
    shares = np.asarray(weights, np.float64)
    return np.asarray(np.tensordot(shares / shares.sum(), probabilities.astype(np.float64), axes=1), np.float32)


def majority(probabilities: MemberProbabilities) -> NDArray[np.float32]:
    """Return the share of votes for each class, of shape (n, k); ties are broken by the mean probability.

    Each member has one vote, and half a vote is distributed by the mean of all probabilities: this decides between
    classes with equally many votes, and cannot overturn a majority. Each row sums to 1.

    Examples
    --------
    Two members vote for the first class, and the third is certain of the second:

    >>> probabilities = np.array([[[0.6, 0.4]], [[0.6, 0.4]], [[0.0, 1.0]]])
    >>> majority(probabilities).argmax(), weighted_mean(probabilities, [1, 1, 1]).argmax()
    (np.int64(0), np.int64(1))
    """
    members, _, classes = probabilities.shape
    votes = np.eye(classes)[probabilities.argmax(axis=2)].sum(axis=0)
    mean = probabilities.astype(np.float64).mean(axis=0)
    return np.asarray((votes + mean / 2) / (members + 0.5), np.float32)


def log_probabilities(probabilities: MemberProbabilities) -> NDArray[np.float32]:
    """Return the input of a stacking classifier: all members' log probabilities side by side, of shape (n, m * k)."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY))
    return np.asarray(np.concatenate(list(logs), axis=1), np.float32)


def combiner_of(combination: str, weights: Sequence[float], linear: Linear | None) -> Combiner:
    """Return the function that combines the members' probabilities.

    Parameters
    ----------
    combination : str
        A name of catalog.ensemble_methods.
    weights : sequence of float
        Of each member; only used by a weighted mean.
    linear : Linear or None
        The classifier of stacking.
    """
    if combination == ensemble_methods.VOTE:
        return majority
    if combination == ensemble_methods.STACK:
        assert linear is not None
        return lambda probabilities: linear.probabilities(log_probabilities(probabilities))
    return lambda probabilities: weighted_mean(probabilities, weights)


class EnsembleModel(AbstractModel):
    """Several models that predict as one.

    Parameters
    ----------
    bundle : ModelBundle
    members : sequence of AbstractModel
    linear : Linear or None
        The classifier of stacking.
    rejection_member : int or None
        The member whose features the rejection uses (see load.rejection_member); also an attribute.
    rejection_file : Path or None
    """

    def __init__(
        self,
        bundle: ModelBundle,
        members: Sequence[AbstractModel],
        linear: Linear | None = None,
        rejection_member: int | None = None,
        rejection_file: Path | None = None,
    ) -> None:
        views = dict.fromkeys(view for member in members for view in member.views)
        super().__init__(bundle.class_names, views, bundle.thresholds, rejection_file)
        self.members, self.rejection_member, self._temperature = tuple(members), rejection_member, bundle.temperature
        assert bundle.combination is not None
        self._combiner = combiner_of(bundle.combination, [member.weight for member in bundle.members], linear)
        self._view_indices = [[self.views.index(view) for view in member.views] for member in members]

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the combined probabilities, float32 of shape (n, k)."""
        return self.predict_with_features(views)[0]

    def predict_with_features(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the combined probabilities, and the features of the member that the rejection uses."""
        shared: _SharedFeatures = {}
        combined = self._combiner(self.member_probabilities(views, shared))
        features = None if self.rejection_member is None else shared[self._key(self.rejection_member)]
        return apply_temperature(combined, self._temperature), features

    def member_probabilities(
        self, views: Sequence[Images], shared: _SharedFeatures | None = None
    ) -> MemberProbabilities:
        """Return each member's probabilities, float32 of shape (m, n, k); a shared network runs once.

        Parameters
        ----------
        views : sequence of ndarray
        shared : dict, optional
            Receives the features, by network and view.
        """
        shared = {} if shared is None else shared
        probabilities = []
        for number, (member, indices) in enumerate(zip(self.members, self._view_indices, strict=True)):
            if isinstance(member, FeatureModel):
                key = self._key(number)
                if key not in shared:
                    shared[key] = member.features(views[indices[0]])
                probabilities.append(member.classify(shared[key]))
            else:
                probabilities.append(member.predict_views([views[index] for index in indices]))
        return np.stack(probabilities)

    def _key(self, number: int) -> tuple[int, int]:
        """Identify the features of a member by its network and its view."""
        member = self.members[number]
        assert isinstance(member, FeatureModel)
        return id(member.network), self._view_indices[number][0]
