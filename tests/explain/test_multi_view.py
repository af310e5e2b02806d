"""The same region in views that crop, pad or squash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.decoding import aspect_ratio
from transfer_cli.data.resizing import RESIZE
from transfer_cli.data.views import View
from transfer_cli.explain.multi_view import ViewedImage, map_to_view


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("first", ["crop", "pad", "squash"])
@pytest.mark.parametrize(("height", "width"), [(60, 120), (120, 60), (90, 90)])
def test_replace_pixels_two_views_change_the_same_region(first: str, resize: str, height: int, width: int) -> None:
    """A white square slightly off the centre: covered in the first view, it is covered in the other."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 4, width // 2 + 2
    image[top : top + 18, left : left + 18] = 255
    views = View(80, first), View(64, resize)
    viewed = ViewedImage(tuple(RESIZE[view.resize](image, view.size) for view in views), views, width / height)
    masks = viewed.images[0][None, ..., 0] > 100
    white = viewed.images[1][..., 0] > 100
    blank = replace(viewed, images=tuple(np.zeros_like(image) for image in viewed.images))

    def overlap(ratio: float) -> float:
        white_images = [np.full_like(image, 255) for image in viewed.images]
        covered = replace(blank, aspect_ratio=ratio).replace_pixels(white_images, masks)[1][0, ..., 0] > 0
        return float((covered & white).sum() / (covered | white).sum())

    assert overlap(viewed.aspect_ratio) > 0.8
    # Planted fault: with the aspect ratio of a square image, another region would be covered if the views differ.
    if first != resize and height != width:
        assert overlap(1.0) < 0.6
    map_ = map_to_view(viewed.images[1][..., 0].astype(np.float32), views[1], views[0], viewed.aspect_ratio, 80)
    assert map_[masks[0]].mean() > 200
    assert map_[~masks[0]].mean() < 20


def test_aspect_ratio_rotated_image_is_that_of_the_upright_image(tmp_path: Path) -> None:
    rotated = Image.Exif()
    rotated[0x0112] = 6
    image = Image.new("RGB", (80, 20))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "b.jpg", exif=rotated)
    assert (aspect_ratio(tmp_path / "a.jpg"), aspect_ratio(tmp_path / "b.jpg")) == (4.0, 0.25)
