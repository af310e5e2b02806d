"""Training images as the network sees them in each epoch, and their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.augmenter import Augmenter, Image

Rows = NDArray[np.int64]
_MIXING = 1
"""Part of the seed: mixing and augmentation draw from independent random streams."""


@dataclass(frozen=True)
class Mix:
    """The second image of MixUp or CutMix.

    Attributes
    ----------
    row : int
        Row number of the second image.
    share : float
        Weight of the first image.
    box : (top, left, bottom, right) or None
        The rectangle of CutMix that shows the second image; None for MixUp, which blends both.
    """

    row: int
    share: float
    box: tuple[int, int, int, int] | None


class AugmentedImages:
    """Augmented images; each depends on (seed, epoch, index) alone.

    Parameters
    ----------
    augmentation : Augmentation
    seed : int
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each image in its folder.
    truth : ndarray of shape (n,) or (n, classes), int
        Class column of each image, or the indicator matrix of its labels.
    rows : ndarray of int
        The images that others are mixed with: the training images.
    classes : int
    """

    def __init__(
        self,
        augmentation: Augmentation,
        seed: int,
        images: NDArray[np.uint8],
        indices: Rows,
        truth: Rows,
        rows: Rows,
        classes: int,
    ) -> None:
        self._augmentation, self._seed, self._augment = augmentation, seed, Augmenter(augmentation, seed)
        self._images, self._indices, self._truth, self._rows = images, indices, truth, rows
        self._classes = np.eye(classes, dtype=np.float32)

    def __call__(self, row: int, epoch: int) -> Image:
        """Return an augmented image, uint8 of shape (size, size, 3); epochs are counted over all stages."""
        image = self._augmented(row, epoch)
        mix = self._mix(row, epoch)
        if mix is None:
            return image
        other = self._augmented(mix.row, epoch)
        if mix.box is None:
            blend = np.float32(mix.share) * image + np.float32(1 - mix.share) * other
            return np.asarray(np.rint(blend), np.uint8)
        top, left, bottom, right = mix.box
        mixed = image.copy()
        mixed[top:bottom, left:right] = other[top:bottom, left:right]
        return mixed

    def targets(self, rows: Rows, epochs: Rows) -> NDArray[np.float32]:
        """Return the targets of some augmented images, each in its epoch, of shape (n, classes)."""
        first = self._one_hot(rows)
        if not self._augmentation.mixes:
            return first
        mixes = [self._mix(int(row), int(epoch)) for row, epoch in zip(rows, epochs, strict=True)]
        second = self._one_hot(np.array([mix.row if mix else 0 for mix in mixes], np.int64))
        shares = np.array([mix.share if mix else 1 for mix in mixes], np.float32)[:, None]
        return np.asarray(shares * first + (1 - shares) * second, np.float32)

    def _one_hot(self, rows: Rows) -> NDArray[np.float32]:
        truth = self._truth[rows]
        return truth.astype(np.float32) if truth.ndim == 2 else self._classes[truth]

    def _augmented(self, row: int, epoch: int) -> Image:
        return self._augment(self._images[row], epoch, int(self._indices[row]))

    def _mix(self, row: int, epoch: int) -> Mix | None:
        augmentation = self._augmentation
        if not augmentation.mixes:
            return None
        random = np.random.default_rng((self._seed, epoch, int(self._indices[row]), _MIXING))
        uses_cutmix = augmentation.cutmix > 0 and (augmentation.mixup == 0 or random.random() < 0.5)
        alpha = augmentation.cutmix if uses_cutmix else augmentation.mixup
        share, other = float(random.beta(alpha, alpha)), int(random.choice(self._rows))
        if not uses_cutmix:
            return Mix(other, share, None)
        side = self._images.shape[1]
        half = side * np.sqrt(1 - share) / 2
        y, x = random.uniform(0, side, 2)
        top, left, bottom, right = (
            int(np.clip(round(end), 0, side)) for end in (y - half, x - half, y + half, x + half)
        )
        # The rectangle can extend beyond the image: the share is that of its visible part.
        return Mix(other, 1 - (bottom - top) * (right - left) / side**2, (top, left, bottom, right))
