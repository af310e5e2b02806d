"""What predicts: pictures in, probabilities out, whatever it is made of."""

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

IMAGENET = "imagenet:"
"""The prefix of a backbone with its own 1000 classes, where a bundle is expected."""

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Probabilities = NDArray[np.float32]


class AbstractModel(ABC):
    """What predicts.

    Attributes
    ----------
    class_names : tuple of str
    image_size : int
        Side of the input in pixels.
    resize : str
        How a picture becomes that square.
    thresholds : tuple of float or None
        From which probability on a picture has a label, of a multi-label task.
    rejection_file : Path or None
        What tells whether a picture is one that the model can judge, see rejection.Rejection.
    """

    class_names: tuple[str, ...]
    image_size: int
    resize: str
    thresholds: tuple[float, ...] | None = None
    rejection_file: Path | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """As what it sees a picture; an ensemble may see it in several ways."""
        return (View(self.image_size, self.resize),)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the probabilities of pictures that are given in each of `views`, float32 of shape (n, k)."""
        (images,) = views
        return self.predict_proba(images)

    def judged(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the probabilities of pictures, and the features that its rejection goes by, where it has one."""
        return self.predict_views(views), None

    @abstractmethod
    def predict_proba(self, images: Images) -> Probabilities:
        """Return the probabilities of each class.

        Parameters
        ----------
        images : ndarray of shape (n, image_size, image_size, 3), uint8
            RGB.

        Returns
        -------
        ndarray of shape (n, k), float32
        """


class FeatureModel(AbstractModel):
    """A network that gives features, and what makes probabilities of them.

    Attributes
    ----------
    network : object
        What the features come from; members of an ensemble that have the same give the same features.
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
        """Return what the network makes of pictures, float32 of shape (n, width)."""
        return np.asarray(self._features(images), np.float32)

    def classify(self, features: Features) -> Probabilities:
        """Return the calibrated probabilities of some features, float32 of shape (n, k)."""
        return apply_temperature(remove_log_prior(self._classifier(features), self._log_prior), self._temperature)

    def judged(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the classifier's probabilities, and the features that it made them of."""
        (images,) = views
        features = self.features(images)
        return self.classify(features), features

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the classifier's probabilities on the network's features."""
        return self.classify(self.features(images))


class NetworkModel(AbstractModel):
    """A network that gives probabilities by itself: an exported one, one with 1000 classes, or an older bundle's."""

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
