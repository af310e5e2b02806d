"""Fingerprints of images: a small grey version and a perceptual hash, by which copies of an image are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.views import View
from transfer_cli.progress import SILENT, Progress

SIDE = 48
"""Side of the small versions in pixels: 2 kB per image, and enough to tell most photographs of one motif apart."""
BITS = 63
MAX_COMPARED = 20_000
"""The small versions of at most this many images are kept; of more images only the hashes."""
_MIN_CONTRAST = 2.0
"""Standard deviation in grey levels; an image with less has no detail to compare."""
_LOW = 8
_BATCH = 64

Small = NDArray[np.uint8]


def shrink(images: NDArray[np.uint8]) -> Small:
    """Return small grey versions, uint8 of shape (n, SIDE, SIDE), of RGB images of shape (n, size, size, 3)."""
    import cv2

    count, height, width, _ = images.shape
    if not count:
        return np.empty((0, SIDE, SIDE), np.uint8)
    # One above the other: each call would wait for the threads that decode images.
    grey = cv2.cvtColor(images.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, count * SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(count, SIDE, SIDE)


def _cosines() -> NDArray[np.float32]:
    """Return the lowest frequencies of the discrete cosine transform as rows, shape (_LOW, SIDE)."""
    places = np.pi * (np.arange(SIDE) + 0.5) / SIDE
    return np.cos(np.arange(_LOW)[:, None] * places).astype(np.float32)


def hashes(small: Small) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the perceptual hashes (pHash) of small images, and those of their mirror images.

    The bits say which of the lowest frequencies of the discrete cosine transform exceed their median; frequency 0, the
    mean of the image, is left out. A mirror image has the same frequencies, the odd horizontal ones with the opposite
    sign.

    Returns
    -------
    (ndarray of shape (n, BITS), ndarray of shape (n, BITS)), bool

    References
    ----------
    C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    cosines = _cosines()
    low = np.matmul(np.matmul(cosines, small.astype(np.float32)), cosines.T)
    mirrored = low * np.where(np.arange(_LOW) % 2, np.float32(-1), np.float32(1))
    flat = [each.reshape(len(small), _LOW**2)[:, 1:] for each in (low, mirrored)]
    one, other = (each > np.median(each, axis=1, keepdims=True) for each in flat)
    return one, other


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of images, in the order that they were added.

    Attributes
    ----------
    count : int
        Number of images that will be added at most.
    """

    count: int
    _small: list[Small] = field(default_factory=list)
    _bits: list[NDArray[np.uint8]] = field(default_factory=list)
    _mirrored: list[NDArray[np.uint8]] = field(default_factory=list)
    _detailed: list[NDArray[np.bool_]] = field(default_factory=list)

    @classmethod
    def of_images(cls, images: NDArray[np.uint8]) -> Fingerprints:
        """Return the fingerprints of RGB images of shape (n, size, size, 3), which may be on disk."""
        made = cls(len(images))
        for start in range(0, len(images), _BATCH):
            made.add(shrink(images[start : start + _BATCH]))
        return made

    @classmethod
    def of_files(
        cls, paths: Sequence[str], root: Path, progress: Progress = SILENT, bit_depth: int | None = None
    ) -> tuple[Fingerprints, tuple[int, ...]]:
        """Return the fingerprints of the files that can be read, and the positions of these files.

        `bit_depth` is that of the recipe (see `View`).
        """
        made, read = cls(len(paths)), list[int]()
        view = View(2 * SIDE, "squash", bit_depth)
        with progress.track("comparing images across parts", len(paths)) as advance:
            for batch in view_batches(paths, [view], batch_size=_BATCH, root=root):
                made.add(shrink(batch.images))
                read += batch.indices
                advance(len(batch.indices) + len(batch.skipped))
        return made, tuple(read)

    def add(self, small: Small) -> None:
        """Add small versions, as `shrink` returns them."""
        if not len(small):
            return
        bits, mirrored = hashes(small)
        self._bits.append(np.packbits(bits, axis=1))
        self._mirrored.append(np.packbits(mirrored, axis=1))
        self._detailed.append(small.std(axis=(1, 2), dtype=np.float32) > _MIN_CONTRAST)
        if self.count <= MAX_COMPARED:
            self._small.append(small)

    def __len__(self) -> int:
        return sum(map(len, self._bits))

    @property
    def has_small(self) -> bool:
        """Whether the small versions were kept: the images can be compared, not only their hashes."""
        return self.count <= MAX_COMPARED

    @property
    def small(self) -> Small:
        """The small versions, of shape (n, SIDE, SIDE)."""
        return np.concatenate([np.empty((0, SIDE, SIDE), np.uint8), *self._small])

    @property
    def packed_hashes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The hashes of the images, and of their mirror images, 8 bits per byte, each of shape (n, 8)."""
        nothing = np.empty((0, (BITS + 7) // 8), np.uint8)
        return np.concatenate([nothing, *self._bits]), np.concatenate([nothing, *self._mirrored])

    @property
    def detailed(self) -> NDArray[np.bool_]:
        """Which images have details to compare, of shape (n,)."""
        return np.concatenate([np.empty(0, bool), *self._detailed])
