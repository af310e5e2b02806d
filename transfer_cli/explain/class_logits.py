"""The networks that Grad-CAM differentiates: from images to the logits of the classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.bundle.files import LINEAR_FILE, NETWORK_FILE
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError
from transfer_cli.explain.source_network import bundle_network
from transfer_cli.inference.load import has_gradient
from transfer_cli.models.classifier_network import LOGITS

Logit = Callable[[Any, Any], Any]
"""``logit(outputs, columns)``: the logit of one class per image, from the outputs of a network."""


def bundle_logits(opened: OpenedBundle) -> tuple[Any, Logit]:
    """Return the network of a bundle, and the function from its outputs to logits.

    Raises
    ------
    ModelError
        If the classifier is not differentiable.
    """
    bundle, directory = opened.bundle, opened.directory
    if not has_gradient(bundle):
        classifier = bundle.recipe.get("classifier", {})
        kind = classifier.get("name") if isinstance(classifier, dict) else None
        raise ModelError(
            f"The classifier of this model{f' ({kind})' if kind else ''} has no gradient, which Grad-CAM needs.",
            hint="Add --method occlusion, which works with every model.",
        )
    network = bundle_network(opened)
    if bundle.kind == "features":
        kernel, shape = Linear.load(directory / LINEAR_FILE).kernel, (network.output_shape[-1], len(bundle.class_names))
        if kernel.shape != shape:
            raise ModelError(
                f"{directory / LINEAR_FILE} does not fit the network. Expected a kernel of shape {shape}. "
                f"Received: {kernel.shape}."
            )
        return network, _dense_logit(kernel)
    if LOGITS not in [layer.name for layer in network.layers]:
        raise ModelError(f"{directory / NETWORK_FILE} has no layer {LOGITS!r}, which Grad-CAM needs.")
    return keras.Model(network.inputs[0], network.get_layer(LOGITS).output), _select_logit


def imagenet_logits(network: Any) -> tuple[Any, Logit]:
    """Return the network below the final softmax of a Keras application, and the function from its outputs to logits.

    Raises
    ------
    ModelError
        If the network does not end in a softmax.
    """
    last = network.layers[-1]
    if getattr(last, "activation", None) is not keras.activations.softmax:
        raise ModelError(
            f"{network.name} does not end in a softmax, which Grad-CAM needs.", hint="Add --method occlusion."
        )
    below = keras.Model(network.inputs[0], last.input)
    return below, _dense_logit(np.asarray(last.kernel)) if isinstance(last, keras.layers.Dense) else _select_logit


def _dense_logit(kernel: NDArray[np.floating[Any]]) -> Logit:
    """Return the logit of a dense layer, without its bias and the log priors, which do not change the gradient."""
    rows = kernel.T.astype(np.float32)
    return lambda features, columns: tf.reduce_sum(features * tf.gather(rows, columns), axis=1)


def _select_logit(logits: Any, columns: Any) -> Any:
    return tf.gather(logits, columns, axis=1, batch_dims=1)
