"""Random crops, enlarged to the size of the image: a square one, or one of random area and aspect ratio."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation

Image = NDArray[np.uint8]

# The images of a batch are augmented in parallel already.
cv2.setNumThreads(1)


class RandomCrop:
    """The crop of a recipe: `random_crop`, or `random_resized_crop` with `crop_ratio`.

    Parameters
    ----------
    augmentation : Augmentation
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._side = 1 - augmentation.random_crop
        self._areas, self._ratios = augmentation.random_resized_crop, augmentation.crop_ratio
        self.is_off = self._areas is None and self._side == 1

    def __call__(self, image: Image, random: np.random.Generator) -> Image:
        """Return a random crop of an image of shape (side, side, 3), in the same shape."""
        side = len(image)
        width, height = self.shares(random)
        across, down = (max(1, round(share * side)) for share in (width, height))
        left, top = (int(random.integers(side - extent + 1)) for extent in (across, down))
        crop = image[top : top + down, left : left + across]
        # A crop is only ever enlarged, which needs no antialiasing.
        return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)

    def shares(self, random: np.random.Generator) -> tuple[float, float]:
        """Return the width and the height of a crop as shares of the image's side.

        Areas are uniform between their limits (Szegedy et al. 2015), and the logarithm of the aspect ratio is uniform
        between those of its limits at which a crop of this area lies within the image.
        """
        if self._areas is None:
            return self._side, self._side
        area = random.uniform(*self._areas)
        lowest, highest = self._ratios
        ratio = np.exp(random.uniform(*np.log([max(lowest, area), min(highest, 1 / area)])))
        return float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
