"""Test-time augmentation: a model is asked about several variants of a picture, and its answers are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from transfer_cli.catalog import tta
from transfer_cli.catalog.tta import Variant
from transfer_cli.data.views import View
from transfer_cli.inference.models import AbstractModel, Images, Probabilities
from transfer_cli.inference.tta_cost import TtaCost

_MARGIN = 14
"""A crop is cut out of a picture whose side is longer by a 14th of the crop's on each side, as AlexNet's 224 of 256."""


class Augmented(AbstractModel):
    """A model whose probability is the arithmetic mean of those of several variants of a picture.

    AlexNet was tested so on ten crops (Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks"). Crops have the size that the model takes, and are cut out of a view that is larger than its own by
    a seventh; each picture is decoded once for all of them. Where a model has several views, each variant is the same
    place of all of them.

    Parameters
    ----------
    model : AbstractModel
    method : str
        A name of the catalog, or a number of crops.
    plain : bool
        Whether the pictures as the model itself sees them are among `views`, too.

    Attributes
    ----------
    spec : TtaSpec
    inner : AbstractModel
        The model, which sees a picture once.
    watch : Watch
        How long a pass takes.

    Raises
    ------
    UnknownNameError
        When there is no such method.
    """

    def __init__(self, model: AbstractModel, method: str, *, plain: bool = False) -> None:
        self.spec, self.inner, self.watch = tta.find(method), model, Watch()
        self.class_names, self.thresholds, self.rejection_file = (
            model.class_names,
            model.thresholds,
            model.rejection_file,
        )
        self._has_plain = plain
        self._sources = tuple(_larger(view) if self.spec.crops else view for view in model.views)
        shown = (*self._sources, *(model.views if plain else ()))
        self._views = tuple(dict.fromkeys(shown))
        self.image_size, self.resize = self._views[0]

    @property
    def views(self) -> tuple[View, ...]:
        """The model's own, larger where crops are cut out of them."""
        return self._views

    @property
    def cost(self) -> TtaCost:
        """What a picture has taken so far; without it, it would be about one pass."""
        passes = self.spec.passes + self._has_plain
        return TtaCost(passes, passes * self.watch.milliseconds, self.watch.milliseconds)

    def with_plain(self) -> Augmented:
        """Return the same with the pictures as the model itself sees them among its views, to be asked about, too."""
        return Augmented(self.inner, self.spec.name, plain=True)

    def plain(self, views: Sequence[Images]) -> tuple[Images, ...]:
        """Return those of `views` that the model itself sees."""
        return tuple(views[self._views.index(view)] for view in self.inner.views)

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the mean of what the model says of each variant, summed in float64."""
        sources = [views[self._views.index(source)] for source in self._sources]
        total = np.zeros((len(views[0]), len(self.class_names)), np.float64)
        for variant in self.spec.variants:
            with self.watch.lap(len(total)):
                shown = zip(sources, self.inner.views, strict=True)
                total += self.inner.predict_views([cut(images, variant, view.size) for images, view in shown])
        return (total / self.spec.passes).astype(np.float32)

    def predict_proba(self, images: Images) -> Probabilities:
        """Return the same of pictures in the only view there is."""
        return self.predict_views((images,))


class Compared(Augmented):
    """The same, which keeps what the model says of each picture without it.

    Attributes
    ----------
    watch_without : Watch
        How long the model takes by itself.
    """

    def __init__(self, model: AbstractModel, method: str) -> None:
        super().__init__(model, method, plain=True)
        self.watch_without = Watch(warm=True)
        self._without: list[Probabilities] = []

    @property
    def cost(self) -> TtaCost:
        """What a picture has taken so far, and what the model took by itself."""
        took = self.spec.passes * self.watch.milliseconds
        return TtaCost(self.spec.passes, took, self.watch_without.milliseconds)

    @property
    def without(self) -> Probabilities:
        """What the model itself said of all pictures so far, float32 of shape (n, k)."""
        return np.concatenate([np.empty((0, len(self.class_names)), np.float32), *self._without])

    def predict_views(self, views: Sequence[Images]) -> Probabilities:
        """Return the mean, and keep what the model says by itself."""
        # By turns, as the next pictures are decoded beside whatever comes first. What the very first pass has to get
        # ready is part of neither time.
        if len(self._without) % 2:
            self._ask_without(views)
            return super().predict_views(views)
        mean = super().predict_views(views)
        self._ask_without(views)
        return mean

    def _ask_without(self, views: Sequence[Images]) -> None:
        own = self.plain(views)
        with self.watch_without.lap(len(own[0])):
            self._without.append(self.inner.predict_views(own))


class Watch:
    """How long pictures take, a pass at a time.

    It times what is predicted anyway: real pictures, while the next ones are decoded, in batches of any size, and the
    mean of all passes but the first. cost.timed, by which networks are compared, repeats one batch by itself.

    Parameters
    ----------
    warm : bool
        Whether the first pass counts; it may have a network to get ready.
    """

    def __init__(self, warm: bool = False) -> None:
        self._counts, self._seconds, self._images = warm, 0.0, 0

    @property
    def milliseconds(self) -> float:
        """Of a picture and a pass; 0 where there was none."""
        return 1000 * self._seconds / max(1, self._images)

    @contextmanager
    def lap(self, images: int) -> Iterator[None]:
        """Take the time of a pass of some pictures."""
        begin = perf_counter()
        yield
        if self._counts:
            self._seconds += perf_counter() - begin
            self._images += images
        self._counts = True


def cut(images: Images, variant: Variant, size: int) -> Images:
    """Return a variant of pictures, of shape (n, size, size, 3)."""
    import cv2  # as in `images`

    top, left = (int(share * (images.shape[1] - size) + 0.5) for share in variant[:2])
    crops = np.ascontiguousarray(images[:, top : top + size, left : left + size])
    if not variant.mirrored or not len(crops):
        return crops
    # NumPy mirrors pixel by pixel, in a tenth of the time of a small network; one below the other they are one picture.
    return np.asarray(cv2.flip(crops.reshape(-1, size, 3), 1), np.uint8).reshape(crops.shape)


def _larger(view: View) -> View:
    # By an even number of pixels: the middle of the mirror image is the mirror image of the middle.
    return View(view.size + 2 * max(1, round(view.size / _MARGIN)), view.resize)
