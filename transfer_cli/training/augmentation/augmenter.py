"""The augmentations of a recipe one after the other, each drawn from (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.training.augmentation.hue_saturation import HueSaturation
from transfer_cli.training.augmentation.image_data_generator import Generator
from transfer_cli.training.augmentation.rand_augment import Distortions
from transfer_cli.training.augmentation.random_crops import RandomCrop

Image = NDArray[np.uint8]

_DISTORTING, _CROPPING, _COLOURING = 2, 3, 4
"""Parts of the seed: each step draws from a random stream of its own, so that adding one changes no other."""


class Augmenter:
    """Augments an image for an epoch; the result depends on (seed, epoch, index) alone.

    The image is cropped, transformed as by ImageDataGenerator, shifted in hue and saturation, and distorted.

    Parameters
    ----------
    augmentation : Augmentation
    seed : int
    """

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        self._crop = RandomCrop(augmentation)
        self._generator = Generator(**augmentation.generator_arguments(), dtype="float32")
        self._moves = not Augmentation(**augmentation.generator_arguments()).is_off
        self._colours = HueSaturation(augmentation)
        self._distortions = Distortions(augmentation)
        self._seed = seed

    def __call__(self, image: Image, epoch: int, index: int) -> Image:
        """Return the augmented image.

        Parameters
        ----------
        image : ndarray of shape (side, side, 3), uint8
        epoch : int
            Counted over all stages.
        index : int
            Position of the image in its folder.

        Returns
        -------
        ndarray of shape (side, side, 3), uint8
        """

        def random(part: int) -> np.random.Generator:
            return np.random.default_rng((self._seed, epoch, index, part))

        if not self._crop.is_off:
            image = self._crop(image, random(_CROPPING))
        if self._moves:
            # SeedSequence mixes the three numbers: neighbouring epochs and images get unrelated streams.
            seed = np.random.SeedSequence((self._seed, epoch, index)).generate_state(8)
            parameters = self._generator.get_random_transform(image.shape, seed)
            image = np.rint(np.clip(self._generator.apply_transform(image, parameters), 0, 255)).astype(np.uint8)
        if not self._colours.are_off:
            image = self._colours(image, random(_COLOURING))
        if not self._distortions.are_off:
            image = self._distortions(image, random(_DISTORTING))
        return image
