"""Predict with a reject option: unsure or out-of-distribution images get the label ``unknown``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_cli.calibration.rejection import LOW_CONFIDENCE, UNLIKE_TRAINING, Rejection, RejectionThreshold
from transfer_cli.data.predictions import UNKNOWN
from transfer_cli.errors import InputError, ModelError
from transfer_cli.inference.ensemble_model import EnsembleModel
from transfer_cli.inference.models import AbstractModel, Images, Probabilities
from transfer_cli.inference.restricted_classes import RestrictedModel
from transfer_cli.inference.tta import AugmentedModel

_USE_THRESHOLD = "Use a threshold on the confidence alone: --threshold 0.5"


class Rejector:
    """A model with thresholds below which it rejects an image.

    Parameters
    ----------
    model : AbstractModel
    coverage : float, optional
        Reject so that this share of the validation images keep their label, by confidence and by distance to the
        training images (see calibration.rejection). For an augmented model this is computed without augmentation, as
        it was on val.
    threshold : float, optional
        Reject if the confidence is lower; for an augmented model that of the mean.

    Attributes
    ----------
    fitted_threshold : RejectionThreshold or None
        The threshold for `coverage`, and its effect on val.
    model : AbstractModel
        The model, with the views without augmentation if these are needed.
    rejected : int
        Number of images rejected so far.

    Raises
    ------
    ModelError
        If the model has no fitted rejection.
    InputError
        If the model is multi-label, or has a class called ``unknown``.
    """

    def __init__(self, model: AbstractModel, *, coverage: float | None = None, threshold: float | None = None) -> None:
        if model.thresholds is not None:
            raise InputError(
                "Rejection does not apply to a multi-label model: an image without any label is unknown already.",
                hint="Remove --unknown, --coverage and --threshold.",
            )
        if UNKNOWN in model.class_names:
            raise InputError(
                f"The model has a class called {UNKNOWN}, which is also the label of rejected images.",
                hint="Rename the folder of that class, and train again.",
            )
        self._rejection: Rejection | None = None
        self.fitted_threshold: RejectionThreshold | None = None
        if coverage is not None:
            model = model.with_original() if isinstance(model, AugmentedModel) else model
            self._rejection = _load_rejection(model)
            self.fitted_threshold = self._rejection.threshold_for(coverage)
        self.model, self._threshold, self.rejected = model, threshold, 0

    def __call__(self, views: Sequence[Images]) -> tuple[Probabilities, tuple[str, ...]]:
        """Return the probabilities, of shape (n, k), and the reason for rejecting each image, empty if it is kept.

        Parameters
        ----------
        views : sequence of ndarray
            The images in each of the views of `model`.
        """
        unsure = unlike = np.zeros(len(views[0]), bool)
        augmented = self.model if isinstance(self.model, AugmentedModel) else None
        inner = augmented.inner if augmented else self.model
        if self._rejection is not None and self.fitted_threshold is not None:
            own = augmented.original_views(views) if augmented else views
            probabilities, features = inner.predict_with_features(own)
            assert features is not None  # a model with a rejection has them
            quantiles = self._rejection.quantiles(probabilities, features)
            unsure, unlike = (each < self.fitted_threshold.score for each in quantiles)
            if augmented:
                probabilities = augmented.predict_views(views)
        else:
            probabilities = self.model.predict_views(views)
        if self._threshold is not None:
            unsure = unsure | (probabilities.max(axis=1) < self._threshold)
        self.rejected += int((unsure | unlike).sum())
        # If both apply, the distance to the training images is the more informative reason.
        return probabilities, tuple(np.where(unlike, UNLIKE_TRAINING, np.where(unsure, LOW_CONFIDENCE, "")).tolist())


def _load_rejection(model: AbstractModel) -> Rejection:
    inner = model.inner if isinstance(model, AugmentedModel) else model
    inner = inner.inner if isinstance(inner, RestrictedModel) else inner
    if isinstance(inner, EnsembleModel) and inner.rejection_member is None:
        raise ModelError(
            "This ensemble cannot detect images that are unlike the training images: that requires a member with a "
            "frozen backbone, trained by extract.",
            hint=_USE_THRESHOLD,
        )
    if model.rejection_file is None:
        raise ModelError(
            "This model cannot detect images that are unlike the training images: it was trained without a validation "
            "set, or is an exported file or a backbone with its own classes.",
            hint=_USE_THRESHOLD,
        )
    return Rejection.load(model.rejection_file)
