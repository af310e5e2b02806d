"""Models: images in, class probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import check_type, type_of
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
    views : tuple of View
        The input sizes and resize methods that it needs; an ensemble may need several.
    image_size : int
        Side of the first input in pixels.
    resize : str
        How an image is made square for it.
    thresholds : tuple of float or None
        Multi-label: the minimum probability of each label.
    rejection_file : Path or None
        The fitted rejection (see calibration.rejection), if there is one.
    left_out : tuple of str
        Classes that it was restricted without (see restricted_classes).
    """

    left_out: tuple[str, ...] = ()

    def __init__(
        self,
        class_names: tuple[str, ...],
        views: Iterable[View],
        thresholds: tuple[float, ...] | None,
        rejection_file: Path | None = None,
    ) -> None:
        self.class_names, self.thresholds, self.rejection_file = class_names, thresholds, rejection_file
        self.views = tuple(views)
        self.image_size, self.resize, _ = self.views[0]

    @abstractmethod
    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the probabilities, float32 of shape (n, k), of images that were decoded in each of `views`."""

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

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the probability of each class, for a model with one view.

        Parameters
        ----------
        images : ndarray of shape (n, image_size, image_size, 3), uint8
            RGB.

        Returns
        -------
        ndarray of shape (n, k), float32

        Raises
        ------
        TypeError, ValueError
            If the images have another type or shape.
        """
        check_type(images, np.ndarray, "images as a NumPy array; ImageClassifier.predict also takes paths")
        if images.dtype != np.uint8:
            raise TypeError(f"Expected pixels as uint8, from 0 to 255. Received: {type_of(images)}.")
        if len(self.views) > 1:
            sizes = ", ".join(f"{view.size} {view.resize}" for view in self.views)
            raise ValueError(f"The members have different input sizes ({sizes}). Use predict_views with one of each.")
        if images.shape[1:] != (self.image_size, self.image_size, 3):
            expected = f"(n, {self.image_size}, {self.image_size}, 3)"
            resizes = "ImageClassifier.predict resizes images of any size."
            raise ValueError(f"Expected images of shape {expected}. Received: {type_of(images)}. {resizes}")
        return self.predict_views((images,))


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
        super().__init__(bundle.class_names, [bundle.view], bundle.thresholds, rejection_file)
        self.network = features if network is None else network
        self._bundle, self._features, self._classifier = bundle, features, classifier

    def features(self, images: Images) -> Features:
        """Return the features of images, float32 of shape (n, width)."""
        return np.asarray(self._features(images), np.float32)

    def classify(self, features: Features) -> Probabilities:
        """Return the calibrated probabilities for features, float32 of shape (n, k)."""
        probabilities = remove_log_prior(self._classifier(features), self._bundle.log_prior)
        return apply_temperature(probabilities, self._bundle.temperature)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the classifier's probabilities on the network's features."""
        return self.predict_with_features(views)[0]

    def predict_with_features(self, views: Sequence[Images]) -> tuple[Probabilities, Features | None]:
        """Return the probabilities and the features that they were computed from."""
        (images,) = views
        features = self.features(images)
        return self.classify(features), features


class NetworkModel(AbstractModel):
    """A network that outputs probabilities: an exported one, or a backbone with its 1000 ImageNet classes."""

    def __init__(
        self,
        run: Callable[[Images], Any],
        class_names: tuple[str, ...],
        image_size: int,
        resize: str,
        thresholds: tuple[float, ...] | None = None,
        bit_depth: int | None = None,
    ) -> None:
        super().__init__(class_names, [View(image_size, resize, bit_depth)], thresholds)
        self._run = run

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the network's output."""
        (images,) = views
        return np.asarray(self._run(images), np.float32)
