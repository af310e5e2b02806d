"""Class means are the means of the decoded images, whatever could not be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import BACKBONE_FILE, LINEAR_FILE
from transfer_cli.classifiers.linear import Linear
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.explain.channel_drawings import draw_templates
from transfer_cli.explain.templates import ClassMeans, class_means, pixel_weights


def test_means_are_exact_and_count_each_label(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 20), ("c", 40)):
        Image.new("RGB", (8, 8), (level, 0, 255)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    files = [("a.png", ("x",)), ("b.png", ("x",)), ("c.png", ("x", "y")), ("broken.png", ("z",))]
    means = class_means(files, View(8, "squash"), root=tmp_path)
    assert (means.class_names, means.counts) == (("x", "y"), (3, 1))
    assert (means.images == np.array([[23, 0, 255], [40, 0, 255]])[:, None, None]).all()
    assert [item.path for item in means.skipped] == ["broken.png"]
    with pytest.raises(InputError, match="No image could be read"):
        class_means(files[3:], View(8, "squash"), root=tmp_path)


def test_weights_of_a_model_on_pixels_are_images(trained: Path, tmp_path: Path) -> None:
    opened = ModelBundle.open(trained)
    assert pixel_weights(opened) is None  # there is a network between the pixels and the classes
    images = keras.Input((4, 4, 3), dtype="uint8")
    keras.Model(images, keras.layers.Flatten()(keras.ops.cast(images, "float32"))).save(tmp_path / BACKBONE_FILE)
    kernel = np.zeros((4, 4, 3, 2))
    kernel[0, 1, 2], kernel[3, 0, 0] = (2, 0), (-1, 5)
    Linear(kernel.reshape(48, 2), np.zeros(2)).save(tmp_path / LINEAR_FILE)
    weights = pixel_weights(replace(opened, directory=tmp_path))
    assert weights is not None
    assert (weights.shape, weights.dtype) == ((2, 4, 4, 3), np.uint8)
    one, two = weights.astype(int)
    assert (one[0, 1, 2], one[3, 0, 0], two[3, 0, 0], two[0, 1, 2]) == (255, 64, 255, 128)
    assert (np.delete(one.ravel(), [5, 36]) == 128).all()


def test_weights_are_drawn_below_the_means(tmp_path: Path) -> None:
    means = ClassMeans(("a", "b"), np.full((2, 8, 8, 3), 100, np.uint8), (3, 4), ())
    weights = np.full((2, 4, 4, 3), 200, np.uint8)
    draw_templates(means, tmp_path / "a.png", weights, ("a", "b"))
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    assert sheet[10 + 64, 10 + 64].tolist() == [100] * 3
    assert sheet[10 + 176 + 30, 10 + 30].tolist() == [200] * 3
