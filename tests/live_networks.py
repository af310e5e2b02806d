"""Networks with random weights whose predictions depend on their input.

With plain random weights most networks predict the same for all images, and a parity check would accept a graph that
ignores its input. Here the BatchNorm statistics come from a batch of real images, and a head on the first principal
components of the features spreads the predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import LINEAR_FILE, NETWORK_FILE
from transfer_cli.bundle.manifest import FORMAT_VERSION
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.classifiers.linear import Linear
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.image_batches import batches
from transfer_cli.models.backbone import build
from transfer_cli.models.classifier_network import LOGITS

CLASSES = 5
DIRECTIONS = 4


def sample_images(folder: Path, size: int, count: int = 32) -> NDArray[np.uint8]:
    """Return some images of a folder, of all its classes; always the same ones."""
    paths = sorted(map(str, folder.rglob("*.jpg")))
    chosen = paths[:: len(paths) // count][:count]
    return next(batches(chosen, size=size, resize="squash", batch_size=count)).images


def alive(spec: BackboneSpec, images: NDArray[np.uint8]) -> keras.Model:
    """Return a model from uint8 images to probabilities of five classes."""
    network = build(spec, weights="none", size=images.shape[1], seed=1)
    wake(network, images)
    features = outputs(network, images).astype(np.float64)
    # Along the directions in which images differ most: others would amplify rounding errors.
    _, lengths, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    drawn = np.random.default_rng(3).normal(size=(DIRECTIONS, CLASSES))
    kernel = directions[:DIRECTIONS].T / lengths[:DIRECTIONS] @ drawn
    kernel *= 3 / ((features - features.mean(axis=0)) @ kernel).std()
    head = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")
    model = keras.Model(network.inputs[0], head(network.output))
    head.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def bundle_of(model: keras.Model, spec: BackboneSpec, target: Path) -> ModelBundle:
    """Write a network of `alive` as a fine-tuned bundle; return its manifest."""
    kernel, bias = model.layers[-1].get_weights()
    logits = keras.layers.Dense(CLASSES, name=LOGITS)
    below = model.layers[-1].input
    probabilities = keras.layers.Activation("softmax", name="probabilities")(logits(below))
    whole = keras.Model(model.inputs[0], probabilities, name=model.name)
    logits.set_weights([kernel, bias])

    def save(folder: Path) -> None:
        whole.save(folder / NETWORK_FILE)
        Linear(kernel.astype(np.float64), bias.astype(np.float64)).save(folder / LINEAR_FILE)

    bundle = ModelBundle(
        format_version=FORMAT_VERSION,
        kind="network",
        task="single-label",
        class_names=tuple(f"class {number}" for number in range(CLASSES)),
        image_size=model.input_shape[1],
        resize="squash",
        decoder=DECODER,
        backbone={"name": spec.name, "weights": "none", "width": int(kernel.shape[0])},
        versions={},
        recipe={},
    )
    return bundle.write(target, save)


def outputs(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the output of a model, run eagerly: tracing a graph of hundreds of layers takes longer."""
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def wake(network: keras.Model, images: NDArray[np.uint8]) -> None:
    """Set the statistics of every BatchNorm to those of `images`, without dropping any block (stochastic depth)."""
    drops = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    rates = [drop.rate for drop in drops]
    for drop in drops:
        drop.rate = 0.0
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    network.trainable = True
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    network(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for drop, rate in zip(drops, rates, strict=True):
        drop.rate = rate
    network.trainable = False


def answers_to_its_input(probabilities: Any) -> bool:
    """Return whether the predictions vary enough for a parity check."""
    spread = probabilities.max() - probabilities.min()
    winners = set(probabilities.argmax(axis=1).tolist())
    return bool(spread >= 0.3 and len(winners) >= 3)
