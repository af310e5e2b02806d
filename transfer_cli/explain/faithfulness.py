"""Whether a map is to be believed: what the model says when the places it marks are taken away, or are all there is.

The deletion and insertion scores of Petsiuk et al. 2018 (RISE, section 4.2), beside those of maps drawn by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import Maps
from transfer_cli.explain.multi_view import Seen
from transfer_cli.explain.occlusion import blurred
from transfer_cli.explain.overlay import upsampled

STEPS = 20
RANDOM_MAPS = 5
ROUNDING = 0.01
"""A difference between areas that two digits hardly show, and other kernels or threads may make."""
_AT = STEPS // 5


@dataclass(frozen=True)
class Belief:
    """What a map's places do to the probability of its class, and what places drawn by chance do.

    Attributes
    ----------
    probability : float
        Of the class, for the whole picture.
    deletion, insertion : float
        Areas under the curve of the probability, while the picture is blurred from the map's highest place on, and
        while a blurred picture gets its places back in that order.
    random_deletions, random_insertions : tuple of float
        The same for each of some maps drawn by chance.
    after : float
        The probability when a fifth of the pixels is blurred.
    random_after : float
        The mean of the same over the maps drawn by chance.
    is_empty : bool
        Whether the map marks no place at all.
    chance : float
        Below this probability the model does not see the class on the picture.
    """

    probability: float
    deletion: float
    insertion: float
    random_deletions: tuple[float, ...]
    random_insertions: tuple[float, ...]
    after: float
    random_after: float
    is_empty: bool = False
    chance: float = 0.0

    @property
    def random_deletion(self) -> float:
        """The mean over the maps drawn by chance."""
        return float(np.mean(self.random_deletions))

    @property
    def random_insertion(self) -> float:
        """The mean over the maps drawn by chance."""
        return float(np.mean(self.random_insertions))

    @property
    def is_seen(self) -> bool:
        """Whether the class is as probable as chance would have it: of what is not seen there is nothing to explain."""
        return self.probability >= 0.99 * self.chance

    @property
    def is_believable(self) -> bool:
        """Whether the class is seen and the map finds where.

        Insertion less deletion is higher than for each map drawn by chance, and deletion lower than their mean, by more
        than rounding. One more map drawn by chance would pass the first in one case of `RANDOM_MAPS` + 1.
        """
        pairs = zip(self.random_insertions, self.random_deletions, strict=True)
        best = max(insertion - deletion for insertion, deletion in pairs)
        is_better = self.insertion - self.deletion > best + ROUNDING and self.deletion < self.random_deletion - ROUNDING
        return self.is_seen and not self.is_empty and is_better

    def verdict(self, class_name: str) -> str:
        """Return what the map is worth, in a few words."""
        if not self.is_seen:
            return f"the model does not see {class_name} here ({100 * self.probability:.1f} %)"
        if self.is_empty:
            return f"no place speaks for {class_name}"
        return "to be believed" if self.is_believable else "no better than chance"

    def summary(self, class_name: str) -> tuple[str, ...]:
        """Return the verdict with what blurring a fifth of the pixels does, and the scores, for a person."""
        verdict, share = self.verdict(class_name), 100 * _AT // STEPS
        if not self.is_seen:
            return (verdict,)
        return (
            f"{verdict}: blurring its brightest {share} % takes p({class_name}) from {self.probability:.2f} to "
            f"{self.after:.2f}, at random to {self.random_after:.2f}",
            f"deletion {self.deletion:.2f} (random {self.random_deletion:.2f}), "
            f"insertion {self.insertion:.2f} (random {self.random_insertion:.2f})",
        )


def beliefs(
    predict_proba: Callable[..., NDArray[np.float32]],
    image: NDArray[np.uint8] | Seen,
    maps: Maps,
    columns: NDArray[np.int64],
    *,
    chance: Sequence[float] = (),
    seed: int = 0,
) -> list[Belief]:
    """Return how far each map of a picture is to be believed.

    Parameters
    ----------
    predict_proba : callable
        Pictures to probabilities; of a model that sees them in several ways one argument a view.
    image : ndarray of shape (size, size, 3), uint8, or Seen
    maps : ndarray of shape (m, h, w), float32
        Over the first view.
    columns : ndarray of shape (m,), int
        The class of each map.
    chance : sequence of float
        Of each map: below this probability its class is not seen.
    seed : int
        Of the maps drawn by chance. They are as coarse as the others: single pixels drawn by chance would spoil a
        picture far more than places do.
    """
    draw = np.random.default_rng(seed)
    seen = image if isinstance(image, Seen) else Seen.once(image)
    size = seen.views[0].size
    drawn = draw.random((RANDOM_MAPS + 1, *maps.shape[1:])).astype(np.float32)
    # Where a map says the same of many pixels, such as nothing, chance decides, again in places.
    orders = [_order(map_, drawn[-1], size) for map_ in [*maps, *drawn[:-1]]]
    curves = _curves(predict_proba, seen, orders)
    areas = np.asarray(np.trapezoid(curves, dx=1 / STEPS, axis=2))
    found = []
    for number, column in enumerate(columns):
        mine, others = areas[number, :, column], areas[len(maps) :, :, column]
        found.append(
            Belief(
                float(curves[number, 0, 0, column]),
                float(mine[0]),
                float(mine[1]),
                tuple(map(float, others[:, 0])),
                tuple(map(float, others[:, 1])),
                float(curves[number, 0, _AT, column]),
                float(curves[len(maps) :, 0, _AT, column].mean()),
                not maps[number].any(),
                chance[number] if len(chance) else 0.0,
            )
        )
    return found


def _order(map_: NDArray[np.float32], chance: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the place of each pixel, of shape (size, size), when all are sorted from the highest value down."""
    sorted_ = np.lexsort((upsampled(chance, size).ravel(), -upsampled(map_, size).ravel()))
    places = np.empty(size * size, np.int64)
    places[sorted_] = np.arange(size * size)
    return places.reshape(size, size)


def _curves(
    predict_proba: Callable[..., NDArray[np.float32]], seen: Seen, orders: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return the probabilities of shape (orders, deletion and insertion, steps + 1, classes)."""
    covers = [blurred(image) for image in seen.images]
    both = (np.stack(pair) for pair in zip(seen.images, covers, strict=True))
    whole, blank = predict_proba(*both).astype(np.float64)
    curves = np.empty((len(orders), 2, STEPS + 1, len(whole)))
    curves[:, 0, 0], curves[:, 0, -1], curves[:, 1, 0], curves[:, 1, -1] = whole, blank, blank, whole
    for number, order in enumerate(orders):
        places = order < (np.arange(1, STEPS) * order.size // STEPS)[:, None, None]
        for way, inside_out in enumerate((False, True)):
            curves[number, way, 1:-1] = predict_proba(*seen.changed(covers, places, inside_out=inside_out))
    return curves
