"""Boxes lie around planted objects, in the original image, and are valid in the batch format of MegaDetector."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.explain.example_models import column_of
from transfer_cli.catalog import explainers
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.explain.boxes import Box, box_of, check_boxes_target, write_boxes
from transfer_cli.explain.explain import explain
from transfer_cli.explain.explainable import Explainable
from transfer_cli.explain.grad_cam import Gradients
from transfer_cli.inference.models import AbstractModel


def red_network() -> keras.Model:
    """Return a network whose feature map is how much redder than blue each 4 x 4 block is, and the outputs its mean."""
    images = keras.Input((64, 64, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1 / 255)(images)
    convolution = keras.layers.Conv2D(2, 4, strides=4, activation="relu", use_bias=False)
    maps = convolution(pixels)
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0], kernel[:, :, 2] = (-1, 1), (1, -1)
    convolution.set_weights([kernel / 16])
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))


class RedModel(AbstractModel):
    """Predicts `blue` and `red` from the outputs of the network."""

    def __init__(self, network: keras.Model, resize: str) -> None:
        super().__init__(("blue", "red"), [View(64, resize)], None)
        self._network = network

    def predict_views(self, views: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        outputs = np.asarray(self._network(views[0])) + 1e-3
        return np.asarray(outputs / outputs.sum(axis=1, keepdims=True), np.float32)


def overlap(one: Box, other: Box) -> float:
    """Return intersection over union."""
    starts = np.maximum(one[:2], other[:2])
    ends = np.minimum(np.add(one[:2], one[2:]), np.add(other[:2], other[2:]))
    common = float(np.prod(np.maximum(ends - starts, 0)))
    return common / (one[2] * one[3] + other[2] * other[3] - common)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_planted_object_is_boxed_in_the_original_image(resize: str, tmp_path: Path) -> None:
    pixels = np.full((100, 200, 3), (40, 60, 220), np.uint8)
    pixels[50:90, 100:140] = (230, 30, 20)
    Image.fromarray(pixels).save(tmp_path / "planted.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    network = red_network()
    gradients = Gradients.build(network, column_of)
    opened = Explainable(RedModel(network, resize), explainers.find("grad-cam"), gradients)
    files = [str(tmp_path / name) for name in ("planted.png", "broken.png")]
    boxes = tmp_path / "boxes.json"
    for _ in range(2):  # it replaces its own file
        explanations = explain(opened, files, tmp_path / "maps", class_names=["red", "blue"], write_boxes=boxes)
    red, blue = explanations
    planted, elsewhere = (0.5, 0.5, 0.2, 0.4), (0.3, 0.1, 0.2, 0.4)
    assert red.box is not None
    assert overlap(red.box, planted) > 0.5 > 0.1 > overlap(red.box, elsewhere)
    content = json.loads(boxes.read_text())
    assert [*content] == ["info", "detection_categories", "images"]
    assert content["info"]["format_version"] == "1.4"
    assert "weak localisation" in content["info"]["detector_metadata"]["note"]
    assert content["detection_categories"] == {"1": "blue", "2": "red"}
    image, failed = content["images"]
    assert failed == {"file": files[1], "failure": "not an image in a known format", "detections": None}
    assert image["file"] == files[0]
    assert image["detections"][0] == {
        "category": "2",
        "conf": round(red.probability, 4),
        "bbox": [round(edge, 4) for edge in red.box],
    }
    assert len(image["detections"]) == 1 + (blue.box is not None)


def test_box_is_around_the_largest_region_above_a_fifth_of_the_maximum() -> None:
    map_ = np.zeros((50, 50), np.float32)
    map_[2:6, 2:6] = 1  # the brightest region is a small one
    map_[20:40, 10:20] = 0.25
    map_[10:45, 30:48] = 0.15
    assert box_of(map_, View(50, "squash")) == pytest.approx((0.2, 0.4, 0.2, 0.4))
    map_[20:40, 10:20] = 0.19
    assert box_of(map_, View(50, "squash")) == pytest.approx((0.04, 0.04, 0.08, 0.08))
    assert box_of(np.zeros((7, 7), np.float32), View(50, "squash")) is None


def test_boxes_of_views_are_clipped_to_the_image() -> None:
    whole = np.ones((4, 4), np.float32)
    assert box_of(whole, View(32, "crop"), 2.0) == (0.25, 0, 0.5, 1)
    assert box_of(whole, View(32, "crop"), 0.5) == (0, 0.25, 1, 0.5)
    assert box_of(whole, View(32, "pad"), 2.0) == (0, 0, 1, 1)


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    detections = tmp_path / "md.json"
    detections.write_text(json.dumps({"info": {"detector": "md_v5a"}, "images": []}))
    cases = {
        detections: "is not a file of boxes that explain wrote",
        tmp_path / "maps/boxes.json": "which is replaced as a whole",
        tmp_path / "boxes.csv": "Expected a name that ends in .json",
    }
    for target, message in cases.items():
        with pytest.raises(InputError, match=message):
            check_boxes_target(target, tmp_path / "maps")
    write_boxes(tmp_path / "own.json", ["a"], [("x.jpg", "a", 0.5, None)], [Skipped("y.jpg", "broken")], "grad-cam")
    check_boxes_target(tmp_path / "own.json", tmp_path / "maps")
    images = json.loads((tmp_path / "own.json").read_text())["images"]
    assert images[0] == {"file": "x.jpg", "detections": []}
