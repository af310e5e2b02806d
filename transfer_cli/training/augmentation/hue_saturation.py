"""Random shift of the hue and random factor of the saturation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation

Image = NDArray[np.uint8]

# The images of a batch are augmented in parallel already.
cv2.setNumThreads(1)

_LEVELS = np.arange(256)


class HueSaturation:
    """The hue shift and the saturation factor of a recipe.

    Parameters
    ----------
    augmentation : Augmentation
    """

    def __init__(self, augmentation: Augmentation) -> None:
        reach = augmentation.saturation
        self._hue = augmentation.hue
        self._saturation = reach if isinstance(reach, tuple) else (1 - reach, 1 + reach)
        self.are_off = self._hue == 0 and self._saturation == (1, 1)

    def __call__(self, image: Image, random: np.random.Generator) -> Image:
        """Return the image, of shape (side, side, 3), with a random hue shift and saturation factor."""
        shift, factor = random.uniform(-self._hue, self._hue), random.uniform(*self._saturation)
        return shift_hue(image, shift, factor)


def shift_hue(image: Image, shift: float, factor: float = 1) -> Image:
    """Return the image with another hue and saturation (HSV); its value, the largest channel, stays.

    Parameters
    ----------
    image : ndarray of shape (h, w, 3), uint8
    shift : float
        Share of the colour circle.
    factor : float
        Factor of the saturation.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        Computed in 8 bits: within a few grey levels of floating point.
    """
    # OpenCV returns hues of 256 levels and reads hues of 255.
    hues = np.rint((_LEVELS / 256 + shift) % 1 * 255)
    saturations = np.rint(np.minimum(_LEVELS * factor, 255))
    table = np.stack([hues, saturations, _LEVELS], axis=-1).astype(np.uint8)[None]
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)
