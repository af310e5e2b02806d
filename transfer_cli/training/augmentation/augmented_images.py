"""What the network is shown of each picture in each epoch, and the truth that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.image_data_generator import Augmenter, Image

Rows = NDArray[np.int64]
_MIXING = 1
"""Tells the draws of mixing from those of augmentation, so that one does not change the other."""


@dataclass(frozen=True)
class Mix:
    """What a picture is mixed with.

    Attributes
    ----------
    row : int
        The other picture.
    share : float
        How much of the first is left.
    box : (top, left, bottom, right) or None
        Where the other is laid in; None where both are blended.
    """

    row: int
    share: float
    box: tuple[int, int, int, int] | None


class AugmentedImages:
    """Pictures as they are shown; everything is drawn from (seed, epoch, index) alone.

    Parameters
    ----------
    augmentation : Augmentation
    seed : int
    images : ndarray of shape (n, size, size, 3), uint8
    indices : ndarray of shape (n,), int
        Position of each picture in its folder.
    truth : ndarray of shape (n,) or (n, classes), int
        Column of its class, or the indicator matrix of its labels.
    rows : ndarray of int
        The pictures that others are mixed with: those of the train part.
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
        self._of_class = np.eye(classes, dtype=np.float32)

    def __call__(self, row: int, epoch: int) -> Image:
        """Return what is shown of a picture, of shape (size, size, 3), uint8; epochs are counted over all stages."""
        image = self._augmented(row, epoch)
        mix = self._mix(row, epoch)
        if mix is None:
            return image
        other = self._augmented(mix.row, epoch)
        if mix.box is None:
            blend = np.float32(mix.share) * image + np.float32(1 - mix.share) * other
            return np.asarray(np.rint(blend), np.uint8)
        top, left, bottom, right = mix.box
        laid = image.copy()
        laid[top:bottom, left:right] = other[top:bottom, left:right]
        return laid

    def targets(self, rows: Rows, epochs: Rows) -> NDArray[np.float32]:
        """Return the truth that goes with what is shown of some pictures, each in an epoch, of shape (n, classes)."""
        given = self._shares(rows)
        if not self._augmentation.mixes:
            return given
        mixes = [self._mix(int(row), int(epoch)) for row, epoch in zip(rows, epochs, strict=True)]
        others = self._shares(np.array([mix.row if mix else 0 for mix in mixes], np.int64))
        shares = np.array([mix.share if mix else 1 for mix in mixes], np.float32)[:, None]
        return np.asarray(shares * given + (1 - shares) * others, np.float32)

    def _shares(self, rows: Rows) -> NDArray[np.float32]:
        truth = self._truth[rows]
        return truth.astype(np.float32) if truth.ndim == 2 else self._of_class[truth]

    def _augmented(self, row: int, epoch: int) -> Image:
        return self._augment(self._images[row], epoch, int(self._indices[row]))

    def _mix(self, row: int, epoch: int) -> Mix | None:
        words = self._augmentation
        if not words.mixes:
            return None
        random = np.random.default_rng((self._seed, epoch, int(self._indices[row]), _MIXING))
        lays = words.cutmix > 0 and (words.mixup == 0 or random.random() < 0.5)
        alpha = words.cutmix if lays else words.mixup
        share, other = float(random.beta(alpha, alpha)), int(random.choice(self._rows))
        if not lays:
            return Mix(other, share, None)
        side = self._images.shape[1]
        half = side * np.sqrt(1 - share) / 2
        y, x = random.uniform(0, side, 2)
        top, left, bottom, right = (
            int(np.clip(round(end), 0, side)) for end in (y - half, x - half, y + half, x + half)
        )
        # The rectangle may reach beyond the picture: what counts is what of it is seen.
        return Mix(other, 1 - (bottom - top) * (right - left) / side**2, (top, left, bottom, right))
