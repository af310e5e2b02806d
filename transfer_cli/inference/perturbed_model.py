"""A model that also predicts perturbed versions of each image, and records what it predicts for them."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.perturbations import PERTURBATIONS, VARIANTS, Perturbation
from transfer_cli.inference.models import AbstractModel, Images, Probabilities


class PerturbedModel(AbstractModel):
    """A model that records its predictions under each of `catalog.perturbations.VARIANTS`.

    Each image is decoded once; of each perturbation only the predicted classes are kept. What happens to an image
    depends on the seed and its pixels alone, not on its place among the others; the views of an ensemble are
    perturbed alike.

    Parameters
    ----------
    model : AbstractModel
    seed : int

    Attributes
    ----------
    inner : AbstractModel
    """

    def __init__(self, model: AbstractModel, seed: int = 0) -> None:
        super().__init__(model.class_names, model.views, model.thresholds, model.rejection_file)
        self.inner, self._seed, self.left_out = model, seed, model.left_out
        self._predicted: list[list[NDArray[np.uint8]]] = [[] for _ in VARIANTS]
        self._kind = np.min_scalar_type(len(model.class_names))

    @property
    def passes(self) -> int:
        """Number of passes through the network per image."""
        return 1 + len(VARIANTS)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the probabilities for the images as they are, and record the predictions for perturbed ones."""
        keys = [crc32(image.tobytes()) for image in views[0]]
        for number, (perturbation, strength) in enumerate(VARIANTS):
            perturbed = [self._perturb(images, keys, perturbation, strength) for images in views]
            probabilities = self.inner.predict_views(perturbed)
            self._predicted[number].append(self._compact(probabilities))
        return self.inner.predict_views(views)

    def predicted(self, number: int) -> NDArray[np.int64] | NDArray[np.bool_]:
        """Return what was predicted for all images so far under one of the variants.

        Returns
        -------
        ndarray of shape (n,), int
            The column of the most probable class; of a multi-label model which labels were predicted, of shape (n, k),
            bool.
        """
        rows = np.concatenate(self._predicted[number])
        if self.thresholds is None:
            return rows.astype(np.int64)
        return np.unpackbits(rows, axis=1, count=len(self.class_names)).astype(bool)

    def _perturb(self, images: Images, keys: list[int], perturbation: Perturbation, strength: float) -> Images:
        kind = PERTURBATIONS.index(perturbation)
        changed = [
            perturbation.apply(image, strength, np.random.default_rng([self._seed, kind, key]))
            for image, key in zip(images, keys, strict=True)
        ]
        return np.stack(changed)

    def _compact(self, probabilities: Probabilities) -> NDArray[np.uint8]:
        if self.thresholds is None:
            return np.asarray(probabilities.argmax(axis=1), self._kind)
        return np.packbits(probabilities >= np.array(self.thresholds), axis=1)
