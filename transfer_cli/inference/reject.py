"""A model that may say that it does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_cli.calibration.rejection import IMPROBABLE, UNLIKE, Bar, Rejection
from transfer_cli.data.predictions import UNKNOWN
from transfer_cli.errors import InputError, ModelError
from transfer_cli.inference.ensemble_model import EnsembleModel
from transfer_cli.inference.models import AbstractModel, Images, Probabilities
from transfer_cli.inference.tta import Augmented

_BY_PROBABILITY = "A bar on the probability alone: --threshold 0.5"


class Rejecting:
    """A model and the bars below which it rejects a picture.

    Parameters
    ----------
    model : AbstractModel
    coverage : float, optional
        Reject so that this share of the pictures of val is kept: by probability and by distance to the training
        pictures (see rejection.Rejection). Of an augmented model the picture itself is judged, as those of val were.
    threshold : float, optional
        Reject where the named class is less probable than this, by the mean of an augmented model.

    Attributes
    ----------
    bar : Bar or None
        What `coverage` came to on val.
    model : AbstractModel
        The same, seeing the pictures without augmentation, too, where that is what is judged.
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
        if coverage is not None and isinstance(model, Augmented):
            model = model.with_plain()
        self.model, self._threshold = model, threshold
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
            The pictures in each of the views of `model`.
        """
        unsure = far = np.zeros(len(views[0]), bool)
        augmented = self.model if isinstance(self.model, Augmented) else None
        plain = augmented.inner if augmented else self.model
        if self._rejection is not None and self.bar is not None:
            probabilities, features = plain.judged(augmented.plain(views) if augmented else views)
            assert features is not None  # a model with a rejection has them
            unsure, far = (each < self.bar.score for each in self._rejection.shares(probabilities, features))
            if augmented:
                probabilities = augmented.predict_views(views)
        else:
            probabilities = self.model.predict_views(views)
        if self._threshold is not None:
            unsure = unsure | (probabilities.max(axis=1) < self._threshold)
        self.rejected += int((unsure | far).sum())
        # That a picture is unlike all others says more than that its class is improbable.
        return probabilities, tuple(np.where(far, UNLIKE, np.where(unsure, IMPROBABLE, "")).tolist())


def _of(model: AbstractModel) -> Rejection:
    plain = model.inner if isinstance(model, Augmented) else model
    if isinstance(plain, EnsembleModel) and not plain.has_judge:
        raise ModelError(
            "This ensemble holds nothing that tells which pictures it knows: no member of it keeps its backbone as it "
            "was, and what was trained on the pictures forgets what is unlike them all. Expected a member of extract.",
            hint=_BY_PROBABILITY,
        )
    if model.rejection_file is None:
        raise ModelError(
            "This model holds nothing that tells which pictures it knows: it was made by an older version, without "
            "pictures to compare by, or it is a backbone with its own classes.",
            hint=_BY_PROBABILITY,
        )
    return Rejection.load(model.rejection_file)
