"""Faithfulness of saliency maps: deletion and insertion scores, compared with those of random maps.

References
----------
Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models", section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import Maps
from transfer_cli.explain.multi_view import ViewedImage
from transfer_cli.explain.occlusion import blurred
from transfer_cli.explain.overlay import upsampled

STEPS = 20
RANDOM_MAPS = 5
TOLERANCE = 0.01
"""Smallest relevant difference between scores; different kernels or threads may cause smaller ones."""
_REPORTED_STEP = STEPS // 5
_REPORTED_PERCENT = 100 * _REPORTED_STEP // STEPS


@dataclass(frozen=True)
class Faithfulness:
    """How the probability of a class changes with the regions that a saliency map, or a random map, marks.

    Attributes
    ----------
    probability : float
        Of the class, for the original image.
    deletion, insertion : float
        Area under the curve of the probability while the image is blurred, highest values of the map first, and while
        a blurred image is restored in that order.
    random_deletions, random_insertions : tuple of float
        The same for each random map.
    blurred_probability : float
        The probability after a fifth of the pixels is blurred.
    random_blurred_probability : float
        The same, averaged over the random maps.
    is_empty : bool
        Whether the map is 0 everywhere.
    min_probability : float
        The probability from which the class counts as detected.
    """

    probability: float
    deletion: float
    insertion: float
    random_deletions: tuple[float, ...]
    random_insertions: tuple[float, ...]
    blurred_probability: float
    random_blurred_probability: float
    is_empty: bool = False
    min_probability: float = 0.0

    @property
    def random_deletion(self) -> float:
        """The mean over the random maps."""
        return float(np.mean(self.random_deletions))

    @property
    def random_insertion(self) -> float:
        """The mean over the random maps."""
        return float(np.mean(self.random_insertions))

    @property
    def is_detected(self) -> bool:
        """Whether the model detects the class at all; otherwise there is nothing to explain."""
        return self.probability >= 0.99 * self.min_probability

    @property
    def is_faithful(self) -> bool:
        """Whether the class is detected and the map is better than random.

        Insertion minus deletion is higher than for each random map, and deletion lower than their mean, by more than
        `TOLERANCE`. A random map passes the first condition in one of `RANDOM_MAPS` + 1 cases.
        """
        pairs = zip(self.random_insertions, self.random_deletions, strict=True)
        best = max(insertion - deletion for insertion, deletion in pairs)
        is_better = self.insertion - self.deletion > best + TOLERANCE
        deletes_more = self.deletion < self.random_deletion - TOLERANCE
        return self.is_detected and not self.is_empty and is_better and deletes_more

    def verdict(self, class_name: str) -> str:
        """Return the result in a few words."""
        if not self.is_detected:
            return f"the model does not detect {class_name} ({100 * self.probability:.1f} %)"
        if self.is_empty:
            return f"the map marks no region for {class_name}"
        return "faithful" if self.is_faithful else "not faithful (no better than random)"

    def blurring_effect(self) -> str:
        """Return the probabilities after blurring a fifth of the image, as text."""
        return (
            f"{100 * self.blurred_probability:.0f} % after blurring the top {_REPORTED_PERCENT} % of the map, "
            f"{100 * self.random_blurred_probability:.0f} % after blurring random regions"
        )

    def summary(self, class_name: str) -> tuple[str, ...]:
        """Return the verdict, the effect of blurring and the scores, as lines of a caption."""
        verdict = self.verdict(class_name)
        if not self.is_detected:
            return (verdict,)
        return (
            verdict,
            f"blurring its top {_REPORTED_PERCENT} %: p({class_name}) {self.probability:.2f} to "
            f"{self.blurred_probability:.2f} (random regions: to {self.random_blurred_probability:.2f})",
            f"deletion {self.deletion:.2f} (lower is better; random {self.random_deletion:.2f}), "
            f"insertion {self.insertion:.2f} (higher is better; random {self.random_insertion:.2f})",
        )


def measure_faithfulness(
    predict: Callable[..., NDArray[np.float32]],
    image: ViewedImage,
    maps: Maps,
    columns: NDArray[np.int64],
    *,
    min_probabilities: Sequence[float] = (),
) -> list[Faithfulness]:
    """Return the faithfulness of each saliency map of an image.

    Parameters
    ----------
    predict : callable
        Maps images to class probabilities; one argument per view.
    image : ViewedImage
    maps : ndarray of shape (m, h, w), float32
        In the first view.
    columns : ndarray of shape (m,), int
        The class of each map.
    min_probabilities : sequence of float
        Per map: the probability from which its class counts as detected.
    """
    size = image.views[0].size
    # They have the resolution of `maps`: replacing random single pixels would change an image much more.
    random_maps = np.random.default_rng(0).random((RANDOM_MAPS + 1, *maps.shape[1:])).astype(np.float32)
    # The last random map orders pixels of equal value, such as those of an empty map.
    orders = [_ranks(map_, random_maps[-1], size) for map_ in [*maps, *random_maps[:-1]]]
    curves = _curves(predict, image, orders)
    areas = np.asarray(np.trapezoid(curves, dx=1 / STEPS, axis=2))
    random = areas[len(maps) :]
    return [
        Faithfulness(
            float(curves[number, 0, 0, column]),
            float(areas[number, 0, column]),
            float(areas[number, 1, column]),
            tuple(random[:, 0, column].tolist()),
            tuple(random[:, 1, column].tolist()),
            float(curves[number, 0, _REPORTED_STEP, column]),
            float(curves[len(maps) :, 0, _REPORTED_STEP, column].mean()),
            not maps[number].any(),
            min_probabilities[number] if len(min_probabilities) else 0.0,
        )
        for number, column in enumerate(columns)
    ]


def _ranks(map_: NDArray[np.float32], ties: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the rank of each pixel, of shape (size, size), the highest value first; `ties` orders equal values."""
    order = np.lexsort((upsampled(ties, size).ravel(), -upsampled(map_, size).ravel()))
    ranks = np.empty(size * size, np.int64)
    ranks[order] = np.arange(size * size)
    return ranks.reshape(size, size)


def _curves(
    predict: Callable[..., NDArray[np.float32]], image: ViewedImage, orders: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return the probabilities of shape (orders, 2 for deletion and insertion, steps + 1, classes)."""
    replacements = [blurred(pixels) for pixels in image.images]
    both = (np.stack(pair) for pair in zip(image.images, replacements, strict=True))
    original, blank = predict(*both).astype(np.float64)
    curves = np.empty((len(orders), 2, STEPS + 1, len(original)))
    curves[:, 0, 0], curves[:, 0, -1], curves[:, 1, 0], curves[:, 1, -1] = original, blank, blank, original
    for number, order in enumerate(orders):
        masks = order < (np.arange(1, STEPS) * order.size // STEPS)[:, None, None]
        for score, inverted in enumerate((False, True)):
            curves[number, score, 1:-1] = predict(*image.replace_pixels(replacements, masks, inverted=inverted))
    return curves
