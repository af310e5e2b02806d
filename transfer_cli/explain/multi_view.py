"""A picture in the ways in which the members of an ensemble see it: one place, wherever it lies in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import Maps
from transfer_cli.data.views import View


@dataclass(frozen=True)
class Seen:
    """A picture, as a model sees it.

    Attributes
    ----------
    images : tuple of ndarray of shape (size, size, 3), uint8
        In each of the views.
    views : tuple of View
    ratio : float
        Width of the whole picture by its height: where a place lies in a view that crops, in one that does not.
    """

    images: tuple[NDArray[np.uint8], ...]
    views: tuple[View, ...]
    ratio: float = 1.0

    @classmethod
    def once(cls, image: NDArray[np.uint8]) -> Seen:
        """Return a picture that is seen in one way."""
        return cls((image,), (View(image.shape[0], "squash"),))

    def changed(
        self, covers: Sequence[NDArray[np.uint8]], places: NDArray[np.bool_], *, inside_out: bool = False
    ) -> list[NDArray[np.uint8]]:
        """Return the picture in each view, with other pixels at some places.

        Parameters
        ----------
        covers : sequence of ndarray of shape (size, size, 3), uint8
            The other pixels, in each view.
        places : ndarray of shape (n, size, size), bool
            In the first view.
        inside_out : bool
            The picture has its pixels at these places, and the others elsewhere.

        Returns
        -------
        list of ndarray of shape (n, size, size, 3), uint8
        """
        changed = []
        for image, cover, view in zip(self.images, covers, self.views, strict=True):
            there = self._places_in(places, view)[..., None]
            changed.append(np.where(there, image, cover) if inside_out else np.where(there, cover, image))
        return changed

    def _places_in(self, places: NDArray[np.bool_], view: View) -> NDArray[np.bool_]:
        """Return where places of the first view lie in another; what lies beyond its edge follows the edge."""
        if view == self.views[0]:
            return places
        across, down = (_middles(view.size, scale) for scale in scales(self.views[0], view, self.ratio))
        columns, rows = (
            np.clip((middles * self.views[0].size).astype(int), 0, self.views[0].size - 1) for middles in (across, down)
        )
        return places[:, rows[:, None], columns]


def moved(map_: NDArray[np.float32], source: View, target: View, ratio: float, side: int) -> NDArray[np.float32]:
    """Return a map over one view as a map over another, bilinearly; 0 where the first view shows nothing of it.

    Parameters
    ----------
    map_ : ndarray of shape (h, w), float32
    source, target : View
    ratio : float
        Of the picture, see `Seen`.
    side : int
        Of the grid that is returned.
    """
    across_scale, down_scale = scales(source, target, ratio)
    if across_scale == down_scale == 1:
        return np.asarray(cv2.resize(map_, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    across, down = _middles(side, across_scale), _middles(side, down_scale)
    columns, rows = across * map_.shape[1] - 0.5, down * map_.shape[0] - 0.5
    wide, high = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    found = cv2.remap(map_, wide, high, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    is_seen = ((down >= 0) & (down <= 1))[:, None] & ((across >= 0) & (across <= 1))
    return np.asarray(np.where(is_seen, found, 0), np.float32)


def scales(source: View, target: View, ratio: float) -> tuple[float, float]:
    """Return by how much a way from the middle of `target` is longer in `source`, across and down, in their sides."""
    (wide, high), (wide_source, high_source) = _reach(target, ratio), _reach(source, ratio)
    return wide / wide_source, high / high_source


def _reach(view: View, ratio: float) -> tuple[float, float]:
    """Return how wide and high a view is, in widths and heights of the whole picture."""
    wide, high = max(ratio, 1.0), max(1 / ratio, 1.0)
    return {"squash": (1.0, 1.0), "crop": (1 / wide, 1 / high), "pad": (high, wide)}[view.resize]


def _middles(side: int, scale: float) -> NDArray[np.float64]:
    """Return where the middles of `side` cells lie in a view whose side is 1, from which they are scaled."""
    middles: NDArray[np.float64] = 0.5 + ((np.arange(side) + 0.5) / side - 0.5) * scale
    return middles


def highest_is_one(maps: Maps) -> Maps:
    """Return maps of shape (n, m, h, w) whose highest place is 1; one that is 0 everywhere stays so."""
    highest = maps.max(axis=(2, 3), keepdims=True)
    return np.asarray(np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0), np.float32)
