"""What a picture looks like in little: a small grey copy, a perceptual hash, how bright and how sharp it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.decoding import batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.progress import SILENT, Progress

SIDE = 96
"""Of the grey copies that pairs are compared by: enough to tell two shirts apart, 9 kB a picture."""
_READ = 2 * SIDE
_BATCH = 64
_DCT_SIDE = 32
_LOW = 8


@dataclass(frozen=True)
class Looks:
    """The pictures that could be read, in their order.

    Attributes
    ----------
    indices : tuple of int
        Position of each in the input.
    paths, digests : tuple of str
        Path and SHA-256 of each.
    grey : ndarray of shape (n, SIDE, SIDE), uint8
        The whole picture, its shape given up.
    brightness : ndarray of shape (n,), float32
        Mean grey value, 0 to 255.
    contrast : ndarray of shape (n,), float32
        Standard deviation of the grey values.
    sharpness : ndarray of shape (n,), float32
        Variance of the Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"), at 192
        pixels a side.
    skipped : tuple of Skipped
        What could not be read.
    """

    indices: tuple[int, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    grey: NDArray[np.uint8]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    skipped: tuple[Skipped, ...]

    def only(self, rows: Sequence[int]) -> Looks:
        """Return some of the pictures that could be read, by their place among them."""
        places = list(rows)
        return Looks(
            indices=tuple(self.indices[row] for row in places),
            paths=tuple(self.paths[row] for row in places),
            digests=tuple(self.digests[row] for row in places),
            grey=self.grey[places],
            brightness=self.brightness[places],
            contrast=self.contrast[places],
            sharpness=self.sharpness[places],
            skipped=self.skipped,
        )


def look(paths: Sequence[str], root: Path, progress: Progress = SILENT) -> Looks:
    """Return what the pictures at `paths` look like; each file is read once."""
    grey = np.empty((len(paths), SIDE, SIDE), np.uint8)
    figures = np.empty((len(paths), 3), np.float32)
    indices: list[int] = []
    known: list[str] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    with progress.track("looking at the pictures", len(paths)) as advance:
        for batch in batches(paths, size=_READ, resize="squash", batch_size=_BATCH, root=root):
            for row, image in enumerate(batch.images, start=len(known)):
                plain = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                figures[row] = plain.mean(), plain.std(), cv2.Laplacian(plain, cv2.CV_32F).var()
                grey[row] = cv2.resize(plain, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            indices += batch.indices
            known += batch.paths
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    count = len(known)
    brightness, contrast, sharpness = figures[:count].T
    return Looks(
        indices=tuple(indices),
        paths=tuple(known),
        digests=tuple(digests),
        grey=grey[:count],
        brightness=brightness,
        contrast=contrast,
        sharpness=sharpness,
        skipped=tuple(skipped),
    )


def hashes(grey: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the perceptual hash of each picture, as signs, so that a product of two counts the bits they share.

    The lowest frequencies of the discrete cosine transform, above or below their median (pHash: Zauner 2010,
    "Implementation and benchmarking of perceptual image hash functions").

    Returns
    -------
    ndarray of shape (n, 63), float32
        1 or -1; the mean of a picture is no part of it.
    """
    rows = [_hash(image) for image in grey]
    return np.array(rows, np.float32).reshape(len(rows), _LOW**2 - 1)


def _hash(grey: NDArray[np.uint8]) -> Any:
    small = cv2.resize(grey, (_DCT_SIDE, _DCT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW, :_LOW].ravel()[1:]
    return np.where(low > np.median(low), 1, -1)
