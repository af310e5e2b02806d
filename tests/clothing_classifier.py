"""A small classifier of clothes out of real weights, made in a second: random ones multiply what eight bits lose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tests.live_networks import outputs
from transfer_cli.catalog.backbones import find
from transfer_cli.data.decoding import batches
from transfer_cli.models.backbone import build

SIDE = 96
_SHARPNESS, _RIDGE = 8.0, 100.0


@dataclass(frozen=True)
class Clothes:
    """A network from pictures to the probabilities of ten classes, and pictures that it has or has not learnt from."""

    network: keras.Model
    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    truth: NDArray[np.int64]
    expected: NDArray[np.float32]


def clothes(shared: Path, train: int = 400, test: int = 186) -> Clothes:
    """Return a frozen MobileNet with a dense layer by least squares on its features."""
    file = shared / "keras_home/models/mobilenet_2_5_224_tf_no_top.h5"
    backbone = build(find("mobilenet@0.25"), weights=str(file), size=SIDE)
    learnt, classes = _read(shared / "data/clothing/train", train)
    request, truth = _read(shared / "data/clothing/test", test)
    features = outputs(backbone, learnt).astype(np.float64)
    mean = features.mean(axis=0)
    wanted = np.eye(classes.max() + 1)[classes]
    centred = features - mean
    penalty = _RIDGE * np.eye(features.shape[1])
    kernel = _SHARPNESS * np.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - wanted.mean(axis=0)))
    head = keras.layers.Dense(kernel.shape[1], activation="softmax", name="probabilities")
    network = keras.Model(backbone.inputs[0], head(backbone.output), name="clothes")
    head.set_weights([kernel, -mean @ kernel])
    return Clothes(network, learnt, request, truth, outputs(network, request))


def _read(folder: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    paths = sorted(folder.rglob("*.jpg"))
    chosen = [paths[at] for at in np.linspace(0, len(paths) - 1, count).astype(int)]
    names = sorted({path.parent.name for path in paths})
    images = next(batches(list(map(str, chosen)), size=SIDE, resize="squash", batch_size=count)).images
    return images, np.array([names.index(path.parent.name) for path in chosen], np.int64)
