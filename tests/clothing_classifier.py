"""A small classifier of clothes with real weights, built in a second; random weights amplify the errors of int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tests.live_networks import outputs
from transfer_cli.catalog.backbones import find
from transfer_cli.data.image_batches import batches
from transfer_cli.models.backbone import build

SIDE = 96
_SHARPNESS, _RIDGE = 8.0, 100.0


@dataclass(frozen=True)
class ClothingClassifier:
    """A network from images to probabilities of ten classes, its training and test images, and its predictions."""

    network: keras.Model
    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    truth: NDArray[np.int64]
    expected: NDArray[np.float32]


def clothing_classifier(shared: Path, train_count: int = 400, test_count: int = 186) -> ClothingClassifier:
    """Return a frozen MobileNet with a dense layer fitted to its features by ridge regression."""
    weights = shared / "keras_home/models/mobilenet_2_5_224_tf_no_top.h5"
    backbone = build(find("mobilenet@0.25"), weights=str(weights), size=SIDE)
    train, classes = _read(shared / "data/clothing/train", train_count)
    test, truth = _read(shared / "data/clothing/test", test_count)
    features = outputs(backbone, train).astype(np.float64)
    mean = features.mean(axis=0)
    targets = np.eye(classes.max() + 1)[classes]
    centred = features - mean
    penalty = _RIDGE * np.eye(features.shape[1])
    kernel = _SHARPNESS * np.linalg.solve(centred.T @ centred + penalty, centred.T @ (targets - targets.mean(axis=0)))
    head = keras.layers.Dense(kernel.shape[1], activation="softmax", name="probabilities")
    network = keras.Model(backbone.inputs[0], head(backbone.output), name="clothes")
    head.set_weights([kernel, -mean @ kernel])
    return ClothingClassifier(network, train, test, truth, outputs(network, test))


def _read(folder: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    paths = sorted(folder.rglob("*.jpg"))
    selected = [paths[row] for row in np.linspace(0, len(paths) - 1, count).astype(int)]
    names = sorted({path.parent.name for path in paths})
    images = next(batches(list(map(str, selected)), size=SIDE, resize="squash", batch_size=count)).images
    return images, np.array([names.index(path.parent.name) for path in selected], np.int64)
