"""An image in the input format of each ensemble member, and how positions in one format map to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import Maps
from transfer_cli.data.views import View


@dataclass(frozen=True)
class ViewedImage:
    """An image as a model gets it; the members of an ensemble may need it in several views.

    Attributes
    ----------
    images : tuple of ndarray of shape (size, size, 3), uint8
        One per view.
    views : tuple of View
    aspect_ratio : float
        Width of the original image divided by its height; relates positions in views that crop to those that do not.
    """

    images: tuple[NDArray[np.uint8], ...]
    views: tuple[View, ...]
    aspect_ratio: float = 1.0

    def replace_pixels(
        self, replacements: Sequence[NDArray[np.uint8]], masks: NDArray[np.bool_], *, inverted: bool = False
    ) -> list[NDArray[np.uint8]]:
        """Return copies of the image, in each view, with the pixels inside a mask replaced.

        Parameters
        ----------
        replacements : sequence of ndarray of shape (size, size, 3), uint8
            The new pixels, per view.
        masks : ndarray of shape (n, size, size), bool
            In the first view.
        inverted : bool
            Replace the pixels outside the mask instead.

        Returns
        -------
        list of ndarray of shape (n, size, size, 3), uint8
        """
        replaced = []
        for image, replacement, view in zip(self.images, replacements, self.views, strict=True):
            mask = self._masks_in(masks, view)[..., None]
            replaced.append(np.where(mask, image, replacement) if inverted else np.where(mask, replacement, image))
        return replaced

    def _masks_in(self, masks: NDArray[np.bool_], view: View) -> NDArray[np.bool_]:
        """Return masks of the first view as masks of another; outside the first view they repeat its edge."""
        if view == self.views[0]:
            return masks
        size = self.views[0].size
        columns, rows = (
            np.clip((_cell_centres(view.size, scale) * size).astype(int), 0, size - 1)
            for scale in _scales(self.views[0], view, self.aspect_ratio)
        )
        return masks[:, rows[:, None], columns]


def map_to_view(
    map_: NDArray[np.float32], source: View, target: View, aspect_ratio: float, side: int
) -> NDArray[np.float32]:
    """Return a saliency map of one view as a map of another (bilinear); 0 outside the first view.

    Parameters
    ----------
    map_ : ndarray of shape (h, w), float32
    source, target : View
    aspect_ratio : float
        Of the original image.
    side : int
        Side of the returned map.
    """
    x_scale, y_scale = _scales(source, target, aspect_ratio)
    if x_scale == y_scale == 1:
        return np.asarray(cv2.resize(map_, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    x, y = _cell_centres(side, x_scale), _cell_centres(side, y_scale)
    columns, rows = x * map_.shape[1] - 0.5, y * map_.shape[0] - 0.5
    grid_x, grid_y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    resampled = cv2.remap(map_, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    is_inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))
    return np.asarray(np.where(is_inside, resampled, 0), np.float32)


def normalize_maps(maps: Maps) -> Maps:
    """Return maps of shape (n, m, h, w), each divided by its maximum; a map of zeros stays as it is."""
    highest = maps.max(axis=(2, 3), keepdims=True)
    return np.asarray(np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0), np.float32)


def _scales(source: View, target: View, aspect_ratio: float) -> tuple[float, float]:
    """Return the width and height of `target` in units of the width and height of `source`."""
    (width, height), (source_width, source_height) = extent(target, aspect_ratio), extent(source, aspect_ratio)
    return width / source_width, height / source_height


def extent(view: View, aspect_ratio: float) -> tuple[float, float]:
    """Return the width and height that a view covers, in units of those of the original image."""
    wide, high = max(aspect_ratio, 1.0), max(1 / aspect_ratio, 1.0)
    return {"squash": (1.0, 1.0), "crop": (1 / wide, 1 / high), "pad": (high, wide)}[view.resize]


def _cell_centres(side: int, scale: float) -> NDArray[np.float64]:
    """Return the centres of `side` cells that cover `scale` times the interval from 0 to 1, around 0.5."""
    centres: NDArray[np.float64] = 0.5 + ((np.arange(side) + 0.5) / side - 0.5) * scale
    return centres
