"""A model that may say that it does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_cli.engine.model import AbstractModel, FeatureModel, Images, Probabilities
from transfer_cli.errors import InputError, ModelError
from transfer_cli.rejection import IMPROBABLE, UNKNOWN, UNLIKE, Bar, Rejection


class Rejecting:
    """A model and the bars below which it rejects a picture.

    Parameters
    ----------
    model : AbstractModel
    coverage : float, optional
        Reject so that this share of the pictures of val is kept: by probability and by distance to the training
        pictures (see rejection.Rejection).
    threshold : float, optional
        Reject where the named class is less probable than this.

    Attributes
    ----------
    bar : Bar or None
        What `coverage` came to on val.
    rejected : int
        How many pictures were rejected so far.

    Raises
    ------
    ModelError
        When the model holds nothing that could tell.
    InputError
        When a picture has several labels, or a class is called unknown.
    """

    def __init__(self, model: AbstractModel, *, coverage: float | None = None, threshold: float | None = None) -> None:
        if model.thresholds is not None:
            raise InputError(
                "Here a picture has any number of labels, none among them: a picture without a label is what unknown "
                "would be.",
                hint="Leave out --unknown, --coverage and --threshold.",
            )
        if UNKNOWN in model.class_names:
            raise InputError(
                f"A class is called {UNKNOWN}, so that a rejected picture could not be told from one of it.",
                hint="Rename its folder, and train again.",
            )
        self._model, self._threshold = model, threshold
        self._rejection = None if coverage is None else _of(model)
        self.bar: Bar | None = None
        if self._rejection is not None and coverage is not None:
            self.bar = self._rejection.bar(coverage)
        self.rejected = 0

    def __call__(self, views: Sequence[Images]) -> tuple[Probabilities, tuple[str, ...]]:
        """Return the probabilities of pictures, of shape (n, k), and why each is rejected, empty where it is not.

        Parameters
        ----------
        views : sequence of ndarray
            The pictures in each of the model's views.
        """
        unsure = far = np.zeros(len(views[0]), bool)
        if self._rejection is not None and self.bar is not None and isinstance(self._model, FeatureModel):
            features = self._model.features(views[0])
            probabilities = self._model.classify(features)
            unsure, far = (each < self.bar.score for each in self._rejection.shares(probabilities, features))
        else:
            probabilities = self._model.predict_views(views)
        if self._threshold is not None:
            unsure = unsure | (probabilities.max(axis=1) < self._threshold)
        self.rejected += int((unsure | far).sum())
        # That a picture is unlike all others says more than that its class is improbable.
        return probabilities, tuple(np.where(far, UNLIKE, np.where(unsure, IMPROBABLE, "")).tolist())


def _of(model: AbstractModel) -> Rejection:
    if model.rejection_file is None:
        raise ModelError(
            "This model holds nothing that tells which pictures it knows: it was made by an older version, without "
            "pictures to compare by, or it is a backbone with its own classes.",
            hint="A bar on the probability alone: --threshold 0.5",
        )
    return Rejection.load(model.rejection_file)
