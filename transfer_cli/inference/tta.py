"""Test-time augmentation: the mean prediction over several crops or mirror images of each image.

References
----------
A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012,
for the mean over ten crops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from transfer_cli.arguments import check_type
from transfer_cli.catalog import tta
from transfer_cli.catalog.tta import Variant
from transfer_cli.data.views import View
from transfer_cli.inference.models import AbstractModel, Images, Probabilities

_MARGIN = 14
"""Crops are cut from an image with a margin of 1/14 of the crop's side on each side, as AlexNet's 224 from 256."""


@dataclass(frozen=True)
class TtaCost:
    """The cost of test-time augmentation.

    Attributes
    ----------
    passes : int
        Passes through the network per image.
    milliseconds : float
        Time of all passes per image, without decoding.
    milliseconds_without : float
        Time per image of the model without augmentation.
    """

    passes: int
    milliseconds: float
    milliseconds_without: float

    def summary(self) -> str:
        """Return one line of text."""
        return (
            f"{self.passes} passes per image, {self.milliseconds:.1f} ms/image in the network instead of "
            f"{self.milliseconds_without:.1f}"
        )


class AugmentedModel(AbstractModel):
    """A model whose probabilities are the mean over several variants of each image.

    Crops have the model's input size and are cut from a view that is larger by a seventh; each image is decoded once.
    If the model has several views, a variant is the same relative crop of all of them.

    Parameters
    ----------
    model : AbstractModel
    method : str
        A name of catalog.tta, or a number of random crops.
    with_original : bool
        Whether `views` also contains the views of the model without augmentation.

    Attributes
    ----------
    spec : TtaSpec
    inner : AbstractModel
        The model without augmentation.
    stopwatch : Stopwatch
        Measures the time per pass.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    """

    def __init__(self, model: AbstractModel, method: str, *, with_original: bool = False) -> None:
        check_type(model, AbstractModel, "a loaded model: load(PATH)")
        self.spec, self.inner, self.stopwatch = tta.find(method), model, Stopwatch()
        self._with_original = with_original
        self._sources = tuple(_larger(view) if self.spec.crops else view for view in model.views)
        views = dict.fromkeys((*self._sources, *(model.views if with_original else ())))
        super().__init__(model.class_names, views, model.thresholds, model.rejection_file)
        self.left_out = model.left_out

    @property
    def cost(self) -> TtaCost:
        """The mean time so far; without augmentation an image would take about one pass."""
        passes = self.spec.passes + self._with_original
        return TtaCost(passes, passes * self.stopwatch.milliseconds, self.stopwatch.milliseconds)

    def with_original(self) -> AugmentedModel:
        """Return the same model with the views of the model without augmentation."""
        return AugmentedModel(self.inner, self.spec.name, with_original=True)

    def original_views(self, views: Sequence[Images]) -> tuple[Images, ...]:
        """Select those of `views` that the model without augmentation needs."""
        return tuple(views[self.views.index(view)] for view in self.inner.views)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the mean of the model's probabilities over the variants, summed in float64."""
        sources = [views[self.views.index(source)] for source in self._sources]
        total = np.zeros((len(views[0]), len(self.class_names)), np.float64)
        for variant in self.spec.variants:
            with self.stopwatch.lap(len(total)):
                pairs = zip(sources, self.inner.views, strict=True)
                total += self.inner.predict_views([crop(images, variant, view.size) for images, view in pairs])
        return (total / self.spec.passes).astype(np.float32)


class ComparedModel(AugmentedModel):
    """An augmented model that also records the predictions of the model without augmentation."""

    def __init__(self, model: AbstractModel, method: str) -> None:
        super().__init__(model, method, with_original=True)
        self._stopwatch_without = Stopwatch(warm=True)
        self._unaugmented: list[Probabilities] = []

    @property
    def cost(self) -> TtaCost:
        """The mean time so far, with and without augmentation."""
        milliseconds = self.spec.passes * self.stopwatch.milliseconds
        return TtaCost(self.spec.passes, milliseconds, self._stopwatch_without.milliseconds)

    @property
    def unaugmented(self) -> Probabilities:
        """The probabilities of all images so far without augmentation, float32 of shape (n, k)."""
        return np.concatenate([np.empty((0, len(self.class_names)), np.float32), *self._unaugmented])

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the mean, and record the probabilities without augmentation."""
        # They alternate, since the next images are decoded while the first of the two runs.
        if len(self._unaugmented) % 2:
            self._predict_unaugmented(views)
            return super().predict_views(views)
        mean = super().predict_views(views)
        self._predict_unaugmented(views)
        return mean

    def _predict_unaugmented(self, views: Sequence[Images]) -> None:
        own = self.original_views(views)
        with self._stopwatch_without.lap(len(own[0])):
            self._unaugmented.append(self.inner.predict_views(own))


class Stopwatch:
    """Measures the time per image of real predictions, while the next images are decoded.

    Parameters
    ----------
    warm : bool
        Whether the first pass counts; it may have to prepare a network.
    """

    def __init__(self, warm: bool = False) -> None:
        self._counts, self._seconds, self._images = warm, 0.0, 0

    @property
    def milliseconds(self) -> float:
        """Mean time per image and pass; 0 before the first one."""
        return 1000 * self._seconds / max(1, self._images)

    @contextmanager
    def lap(self, images: int) -> Iterator[None]:
        """Measure one pass over a number of images."""
        start = perf_counter()
        yield
        if self._counts:
            self._seconds += perf_counter() - start
            self._images += images
        self._counts = True


def crop(images: Images, variant: Variant, size: int) -> Images:
    """Return a variant of images, of shape (n, size, size, 3)."""
    import cv2

    top, left = (int(share * (images.shape[1] - size) + 0.5) for share in variant[:2])
    crops = np.ascontiguousarray(images[:, top : top + size, left : left + size])
    if not variant.mirrored or not len(crops):
        return crops
    # OpenCV flips much faster than NumPy; stacked on top of each other, the crops are one image.
    return np.asarray(cv2.flip(crops.reshape(-1, size, 3), 1), np.uint8).reshape(crops.shape)


def _larger(view: View) -> View:
    # Enlarged by an even number of pixels, so that the centre crop of the mirror image is the mirror image of the
    # centre crop.
    return view._replace(size=view.size + 2 * max(1, round(view.size / _MARGIN)))
