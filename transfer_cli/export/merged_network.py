"""A bundle as one Keras network, from pictures to the probabilities that its predictions would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import BACKBONE_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.signature import OUTPUT
from transfer_cli.inference.load import has_gradient
from transfer_cli.models.classifier_network import LOGITS, below_logits_of
from transfer_cli.models.keras_file import load_keras

_NEVER = -1e4
"""The bias of a class that was not learnt: the runtimes need not agree about infinity."""
_ALWAYS = 1e4


def features_network(bundle: ModelBundle, directory: Path) -> Any:
    """Return the network of a bundle from pictures to what its classifier reads, float32 of shape (n, width)."""
    if bundle.kind == "features":
        return load_keras(directory / BACKBONE_FILE)
    return below_logits_of(load_keras(directory / NETWORK_FILE))


def whole_network(bundle: ModelBundle, directory: Path) -> Any:
    """Return a bundle's network and classifier as one network.

    The classifier, what is taken out for common classes and the temperature are one dense layer: dividing its kernel
    and bias by the temperature divides the logits.

    Parameters
    ----------
    bundle : ModelBundle
    directory : Path
        Where its files are.

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k); its graph is flat.

    Raises
    ------
    ModelError
        When its classifier is not linear.
    """
    if not has_gradient(bundle):
        raise ModelError("The classifier of this model is not linear, and no layer of a network.")
    if LINEAR_FILE not in bundle.files:
        return load_keras(directory / NETWORK_FILE)
    network = features_network(bundle, directory)
    linear = Linear.load(directory / LINEAR_FILE).calibrated(bundle.log_prior, bundle.temperature)
    if linear.kernel.shape != (network.output_shape[-1], len(bundle.class_names)):
        raise ModelError(f"{LINEAR_FILE} has {linear.kernel.shape}, which does not fit the network's features.")
    dense = dense_of(linear)
    probabilities = keras.layers.Activation(linear.activation, name=OUTPUT, dtype="float32")
    model = keras.Model(network.inputs[0], probabilities(dense(network.output)), name=network.name)
    put(linear, dense)
    model.trainable = False
    return model


def dense_of(linear: Linear, name: str = LOGITS) -> Any:
    """Return a layer for a matrix; it has its numbers after `put`."""
    return keras.layers.Dense(len(linear.bias), name=name)


def put(linear: Linear, dense: Any) -> None:
    """Give a layer that is built the numbers of a matrix."""
    dense.set_weights([linear.kernel.astype(np.float32), np.clip(linear.bias, _NEVER, _ALWAYS).astype(np.float32)])
