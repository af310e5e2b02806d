"""Several models that answer as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.catalog import ensemble_methods
from transfer_cli.classifiers.linear import Linear
from transfer_cli.data.views import View
from transfer_cli.inference.combine import Given, log_probabilities, majority, weighted_mean
from transfer_cli.inference.models import AbstractModel, FeatureModel, Features, Images, Probabilities

Join = Callable[[Given], NDArray[np.float32]]
"""From the answers of m models, of shape (m, n, k), to one, of shape (n, k)."""

_Rows = dict[tuple[int, int], NDArray[np.float32]]
"""Features, by the network and the view."""


def join_of(combination: str, weights: Sequence[float], linear: Linear | None) -> Join:
    """Return what makes one answer of the members'.

    Parameters
    ----------
    combination : str
        A row of catalog.combiners whose members stay apart.
    weights : sequence of float
        Of each member; only a weighted mean heeds them.
    linear : Linear or None
        What reads the logarithms of a stack.
    """
    if combination == ensemble_methods.VOTE:
        return majority
    if combination == ensemble_methods.STACK:
        assert linear is not None
        return lambda given: linear.probabilities(log_probabilities(given))
    return lambda given: weighted_mean(given, weights)


class EnsembleModel(AbstractModel):
    """Several models that answer as one.

    Parameters
    ----------
    bundle : ModelBundle
    members : sequence of AbstractModel
    linear : Linear or None
        What reads the members' answers, of a stack.
    judge : int or None
        The member whose features the rejection goes by (see model.judge_of).
    rejection_file : Path or None

    Attributes
    ----------
    members : tuple of AbstractModel
    """

    def __init__(
        self,
        bundle: ModelBundle,
        members: Sequence[AbstractModel],
        linear: Linear | None = None,
        judge: int | None = None,
        rejection_file: Path | None = None,
    ) -> None:
        self.class_names = bundle.class_names
        self.thresholds = bundle.thresholds
        self.members = tuple(members)
        self.rejection_file = rejection_file
        self._judge = judge
        self._temperature = bundle.temperature
        assert bundle.combination is not None
        self._join = join_of(bundle.combination, [member.weight for member in bundle.members], linear)
        self._views = tuple(dict.fromkeys(view for member in members for view in member.views))
        self.image_size, self.resize = self._views[0]
        self._places = [[self._views.index(view) for view in member.views] for member in members]

    @property
    def has_judge(self) -> bool:
        """Whether the features of a member can tell which pictures are ones to judge."""
        return self._judge is not None

    @property
    def views(self) -> tuple[View, ...]:
        """As what its members see a picture, each way once."""
        return self._views

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the probabilities of pictures, where all members see them in one way."""
        if len(self._views) > 1:
            sizes = ", ".join(f"{view.size} {view.resize}" for view in self._views)
            raise ValueError(f"The members see pictures in several ways ({sizes}): give all of them to predict_views.")
        return self.predict_views((images,))

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the joint probabilities of pictures that are given in each of `views`, float32 of shape (n, k)."""
        return self.joined(self.answers(views))

    def judged(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the joint probabilities, and the features of the member that the rejection goes by."""
        rows: _Rows = {}
        probabilities = self.joined(self._answers(views, rows))
        return probabilities, None if self._judge is None else rows[self._key(self._judge)]

    def answers(self, views: Sequence[Images]) -> Given:
        """Return what each member says, float32 of shape (m, n, k); members with one network run it once."""
        return self._answers(views, {})

    def _answers(self, views: Sequence[Images], rows: _Rows) -> Given:
        given = []
        for number, (member, places) in enumerate(zip(self.members, self._places, strict=True)):
            if isinstance(member, FeatureModel):
                key = self._key(number)
                if key not in rows:
                    rows[key] = member.features(views[places[0]])
                given.append(member.classify(rows[key]))
            else:
                given.append(member.predict_views([views[place] for place in places]))
        return np.stack(given)

    def _key(self, number: int) -> tuple[int, int]:
        """Return what tells the features of a member from others: its network, and what it sees."""
        member = self.members[number]
        assert isinstance(member, FeatureModel)
        return id(member.network), self._places[number][0]

    def joined(self, given: Given) -> Probabilities:
        """Return one calibrated answer of the members', of shape (n, k)."""
        return apply_temperature(self._join(given), self._temperature)
