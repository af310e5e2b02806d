"""Augmentation that ImageDataGenerator lacks: RandAugment, AlexNet's colour shift, random erasing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation

Image = NDArray[np.uint8]

_TRANSFORMS = 2
"""RandAugment's number of transforms per image (Cubuk et al. 2020 have 1 to 3; Keras's default)."""
_RANDAUGMENT = (
    "random_shear",
    "random_translation",
    "random_rotation",
    "random_brightness",
    "random_color_degeneration",
    "random_contrast",
    "random_sharpness",
    "random_posterization",
    "solarization",
    "auto_contrast",
    "equalization",
)
# Eigenvalues and eigenvectors (rows: red, green, blue) of the covariance of ImageNet's colours, scaled to 0..1, as in
# Torch's fb.resnet.torch, datasets/imagenet.lua.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_ERASED_AREA = (0.02, 0.4)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_TRIES = 10


class Distortions:
    """RandAugment, colour shift and random erasing of a recipe, with a random generator per image.

    Parameters
    ----------
    augmentation : Augmentation
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._augmentation = augmentation
        self._layers: list[Any] = []
        if augmentation.randaugment:
            whole = keras.layers.RandAugment(value_range=(0, 255), factor=augmentation.randaugment)
            self._layers = [getattr(whole, name) for name in _RANDAUGMENT]

    @property
    def are_off(self) -> bool:
        """Whether images are not changed."""
        augmentation = self._augmentation
        return not (augmentation.randaugment or augmentation.pca_colour or augmentation.random_erasing)

    def __call__(self, image: Image, random: np.random.Generator) -> Image:
        """Return the distorted image, of shape (side, side, 3)."""
        if self._layers:
            image = self._rand_augment(image, random)
        if self._augmentation.pca_colour:
            shift = _EIGENVECTORS @ (random.normal(0, self._augmentation.pca_colour, 3) * _EIGENVALUES) * 255
            image = np.rint(np.clip(image + shift.astype(np.float32), 0, 255)).astype(np.uint8)
        if random.random() < self._augmentation.random_erasing:
            image = _erase(image, random)
        return image

    def _rand_augment(self, image: Image, random: np.random.Generator) -> Image:
        # RandAugment.call computes all transforms to choose two of them, and has no argument for a seed.
        batch: Any = image[None].astype(np.float32)
        for number in random.integers(0, len(self._layers), _TRANSFORMS):
            layer, seed = self._layers[number], int(random.integers(2**31))
            parameters = layer.get_random_transformation(batch, training=True, seed=seed)
            batch = layer.transform_images(batch, parameters, training=True)
        return np.asarray(np.rint(np.clip(np.asarray(batch)[0], 0, 255)), np.uint8)


def _erase(image: Image, random: np.random.Generator) -> Image:
    """Return the image with a rectangle of noise (Zhong et al. 2020, with their ranges of area and aspect ratio)."""
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        area = random.uniform(*_ERASED_AREA) * height * width
        aspect = np.exp(random.uniform(*np.log(_ERASED_ASPECT)))
        down, across = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < down < height and 0 < across < width:
            top, left = random.integers(height - down), random.integers(width - across)
            erased = image.copy()
            erased[top : top + down, left : left + across] = random.integers(0, 256, (down, across, 3), np.uint8)
            return erased
    return image
