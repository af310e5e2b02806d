"""Statistics of each image that need no network: a small grey version, perceptual hash, brightness, sharpness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.progress import SILENT, Progress

SIDE = 96
"""Side of the grey versions that pairs are compared by, in pixels: enough to distinguish two shirts, 9 kB per image."""
_DECODED_SIDE = 2 * SIDE
_BATCH = 64
_DCT_SIDE = 32
_LOW_FREQUENCIES = 8


@dataclass(frozen=True)
class ImageStats:
    """Statistics of the images that could be read, in input order.

    Attributes
    ----------
    indices : tuple of int
        Position of each image in the input.
    paths, digests : tuple of str
        Path and SHA-256 of each image.
    grey : ndarray of shape (n, SIDE, SIDE), uint8
        The whole image, made square.
    brightness : ndarray of shape (n,), float32
        Mean grey value, 0 to 255.
    contrast : ndarray of shape (n,), float32
        Standard deviation of the grey values.
    sharpness : ndarray of shape (n,), float32
        Variance of the Laplacian at 192 x 192 pixels [1]_.
    skipped : tuple of Skipped
        Images that could not be read.

    References
    ----------
    .. [1] J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000.
    """

    indices: tuple[int, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    grey: NDArray[np.uint8]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    skipped: tuple[Skipped, ...]

    def select(self, rows: list[int]) -> ImageStats:
        """Return the statistics of some of the readable images, by position among them."""
        arrays = ("grey", "brightness", "contrast", "sharpness")
        selected: dict[str, Any] = {name: getattr(self, name)[rows] for name in arrays}
        for name in ("indices", "paths", "digests"):
            selected[name] = tuple(getattr(self, name)[row] for row in rows)
        return replace(self, **selected)


def measure_images(
    paths: Sequence[str], root: Path, progress: Progress = SILENT, bit_depth: int | None = None
) -> ImageStats:
    """Return the statistics of the images at `paths`, relative to `root`; each file is read once.

    `bit_depth` is that of the recipe (see `View`).
    """
    view = View(_DECODED_SIDE, "squash", bit_depth)
    grey = np.empty((len(paths), SIDE, SIDE), np.uint8)
    values = np.empty((len(paths), 3), np.float32)
    indices: list[int] = []
    readable: list[str] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    with progress.track("measuring the images", len(paths)) as advance:
        for batch in view_batches(paths, [view], batch_size=_BATCH, root=root):
            for row, image in enumerate(batch.images, start=len(readable)):
                plain = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                values[row] = plain.mean(), plain.std(), cv2.Laplacian(plain, cv2.CV_32F).var()
                grey[row] = cv2.resize(plain, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            indices += batch.indices
            readable += batch.paths
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    brightness, contrast, sharpness = values[: len(readable)].T
    files = tuple(indices), tuple(readable), tuple(digests)
    return ImageStats(*files, grey[: len(readable)], brightness, contrast, sharpness, tuple(skipped))


def perceptual_hashes(grey: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the perceptual hash (pHash) of each grey image.

    The bits say which of the lowest frequencies of the discrete cosine transform exceed their median [1]_. As signs,
    the product of two hashes is the number of equal bits less the number of different bits.

    Returns
    -------
    ndarray of shape (n, 63), float32
        1 or -1. The mean of the image, frequency 0, is left out.

    References
    ----------
    .. [1] C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    rows = [_hash(image) for image in grey]
    return np.array(rows, np.float32).reshape(len(rows), _LOW_FREQUENCIES**2 - 1)


def _hash(grey: NDArray[np.uint8]) -> Any:
    small = cv2.resize(grey, (_DCT_SIDE, _DCT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW_FREQUENCIES, :_LOW_FREQUENCIES].ravel()[1:]
    return np.where(low > np.median(low), 1, -1)
