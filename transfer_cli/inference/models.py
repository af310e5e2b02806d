"""Models: images in, class probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.classifiers.linear import remove_log_prior
from transfer_cli.data.views import View
from transfer_cli.errors import ModelError

IMAGENET = "imagenet:"
"""Prefix of a backbone with its own 1000 classes, where a bundle is expected."""

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Probabilities = NDArray[np.float32]


class AbstractModel(ABC):
    """A model that predicts class probabilities.

    Attributes
    ----------
    class_names : tuple of str
    image_size : int
        Side of the input in pixels.
    resize : str
        How an image is made square.
    thresholds : tuple of float or None
        Multi-label: the minimum probability of each label.
    rejection_file : Path or None
        The fitted rejection (see calibration.rejection), if there is one.
    """

    class_names: tuple[str, ...]
    image_size: int
    resize: str
    thresholds: tuple[float, ...] | None = None
    rejection_file: Path | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """The input sizes and resize methods that it needs; an ensemble may need several."""
        return (View(self.image_size, self.resize),)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the probabilities, float32 of shape (n, k), of images that were decoded in each of `views`."""
        (images,) = views
        return self.predict_proba(images)

    def predict_with_features(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the probabilities, and the features that the rejection uses, if the model has any."""
        return self.predict_views(views), None

    def features(self, images: Images) -> Features:
        """Return the features of images, float32 of shape (n, width).

        Raises
        ------
        ModelError
            If the model has no classifier on features.
        """
        raise ModelError(
            "This model has no features: it is an exported file, an ensemble or a network with its own classes.",
            hint="Use a run of extract or finetune.",
        )

    @abstractmethod
    def predict_proba(self, images: Images) -> Probabilities:
        """Return the probability of each class.

        Parameters
        ----------
        images : ndarray of shape (n, image_size, image_size, 3), uint8
            RGB.

        Returns
        -------
        ndarray of shape (n, k), float32
        """


class FeatureModel(AbstractModel):
    """A network that computes features, and a classifier on them.

    Attributes
    ----------
    network : object
        Identifies the network: ensemble members with the same network share its features.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        features: Callable[[Images], Any],
        classifier: Callable[[Any], Probabilities],
        rejection_file: Path | None = None,
        network: object = None,
    ) -> None:
        self.class_names = bundle.class_names
        self.image_size = bundle.image_size
        self.resize = bundle.resize
        self.thresholds = bundle.thresholds
        self.rejection_file = rejection_file
        self.network = features if network is None else network
        self._features = features
        self._log_prior = bundle.log_prior
        self._temperature = bundle.temperature
        self._classifier = classifier

    def features(self, images: Images) -> Features:
        """Return the features of images, float32 of shape (n, width)."""
        return np.asarray(self._features(images), np.float32)

    def classify(self, features: Features) -> Probabilities:
        """Return the calibrated probabilities for features, float32 of shape (n, k)."""
        return apply_temperature(remove_log_prior(self._classifier(features), self._log_prior), self._temperature)

    def predict_with_features(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the probabilities and the features that they were computed from."""
        (images,) = views
        features = self.features(images)
        return self.classify(features), features

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the classifier's probabilities on the network's features."""
        return self.classify(self.features(images))


class NetworkModel(AbstractModel):
    """A network that outputs probabilities: an exported one, or a backbone with its 1000 ImageNet classes."""

    def __init__(
        self,
        run: Callable[[Images], Any],
        class_names: tuple[str, ...],
        image_size: int,
        resize: str,
        thresholds: tuple[float, ...] | None = None,
    ) -> None:
        self.class_names = class_names
        self.image_size = image_size
        self.resize = resize
        self.thresholds = thresholds
        self._run = run

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the network's output."""
        return np.asarray(self._run(images), np.float32)
