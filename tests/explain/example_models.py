"""Models and images whose correct saliency maps are known."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.views import View
from transfer_cli.explain.multi_view import ViewedImage
from transfer_cli.explain.occlusion import occlusion_map

HALVES = np.zeros((1, 64, 64, 3), np.uint8)
HALVES[:, 16:48, 8:24] = HALVES[:, 16:48, 40:56] = 255


class HalvesModel:
    """Predicts class 0 from the brightness of the left half of an image, class 1 from that of the right half."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        half = images.shape[2] // 2
        left, right = (side.mean(axis=(1, 2, 3)) / 255 for side in (images[:, :, :half], images[:, :, half:]))
        return np.stack([left, right], axis=1).astype(np.float32)


def single_view(image: NDArray[np.uint8]) -> ViewedImage:
    return ViewedImage((image,), (View(image.shape[0], "squash"),))


def occlusion_maps(
    predict: Callable[..., NDArray[np.float32]], images: NDArray[np.uint8], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the occlusion maps of images with one view."""
    pairs = zip(images, columns, strict=True)
    return np.stack([occlusion_map(predict, single_view(image), classes) for image, classes in pairs])


def noise(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def column_of(outputs: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.take_along_axis(outputs, columns[:, None], axis=1)[:, 0]
