"""Occlusion maps of models whose relevant regions are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.explain.example_models import HALVES, HalvesModel, noise, occlusion_maps, single_view
from transfer_cli.data.resizing import RESIZE
from transfer_cli.data.views import View
from transfer_cli.explain.multi_view import ViewedImage
from transfer_cli.explain.occlusion import GRID, occlusion_map


def test_occlusion_maps_mark_the_half_that_the_model_uses() -> None:
    maps = occlusion_maps(HalvesModel(), HALVES, np.array([[0, 1]]))
    assert maps.shape == (1, 2, GRID, GRID)
    shares = maps[0, :, :, : GRID // 2].sum(axis=(1, 2)) / maps[0].sum(axis=(1, 2))
    assert shares[0] > 0.9
    assert shares[1] < 0.1
    # An image that does not change when it is covered has an empty map.
    assert not occlusion_maps(HalvesModel(), np.full((1, 64, 64, 3), 90, np.uint8), np.array([[0]])).any()


def test_occlusion_maps_every_cell_is_covered_equally_often() -> None:
    def darker(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array([[0.5 if np.array_equal(image, images[-1]) else 0.25] for image in images], np.float32)

    maps = occlusion_maps(darker, noise(1, 64), np.array([[0]]))
    np.testing.assert_allclose(maps, np.log(2), rtol=1e-3)


def test_occlusion_map_two_views_are_covered_at_the_same_region() -> None:
    """A model that multiplies the outputs for two views: each view lowers the logarithm as much as it does alone."""

    def left(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / 255

    def both(small: NDArray[np.uint8], large: NDArray[np.uint8]) -> NDArray[np.float32]:
        return left(small) * left(large)

    image = np.zeros((96, 96, 3), np.uint8)
    image[24:72, 12:36] = image[24:72, 60:84] = 255
    views = View(32, "squash"), View(48, "squash")
    viewed = ViewedImage(tuple(RESIZE[view.resize](image, view.size) for view in views), views)
    first = single_view(viewed.images[0])
    alone = occlusion_map(left, first, np.array([0]))
    map_ = occlusion_map(both, viewed, np.array([0]))
    assert map_[0, :, :4].sum() > 0.9 * map_.sum()
    np.testing.assert_allclose(map_, 2 * alone, atol=0.15 * map_.max())
    # Planted fault: covered in the first view only, the drop would be half as large.
    one_view = occlusion_map(lambda small: both(small, viewed.images[1][None]), first, np.array([0]))
    assert np.abs(one_view - map_).max() > 0.4 * map_.max()
    covered = viewed.replace_pixels([np.zeros_like(image) for image in viewed.images], np.ones((1, 32, 32), bool))
    assert [image.shape for image in covered] == [(1, 32, 32, 3), (1, 48, 48, 3)]
    assert not any(image.any() for image in covered)
