"""What a layer of a network gives, and the gradient of a class's logit by it: maps are made of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import BACKBONE_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.catalog.explainers import ExplainerSpec, Maps
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError, UnknownNameError
from transfer_cli.inference.load import has_gradient
from transfer_cli.models.classifier_network import LOGITS
from transfer_cli.models.freezing import cut_points
from transfer_cli.models.keras_file import load_keras

_PICTURES_AT_A_TIME = 16


class Gradients:
    """A network and its logits, seen from one of its layers.

    Parameters
    ----------
    network : keras.Model
        From uint8 pictures of shape (n, size, size, 3), with a flat graph.
    logit : callable
        ``logit(outputs, columns)`` makes of what the network gives the logit of one class of each picture, which
        softmax has not yet mixed with those of the others.
    layer : str, optional
        The layer to look at; where it is not given, the last map that all of the network passes through and that has
        more than one place.

    Attributes
    ----------
    layer : str
    shape : tuple of int
        Height, width and channels of what it gives.

    Raises
    ------
    ModelError
        When there is no map.
    UnknownNameError
        When there is no layer of that name with a map.
    """

    def __init__(self, network: Any, logit: Callable[[Any, Any], Any], layer: str | None = None) -> None:
        operation = _last_map(network) if layer is None else layer_with_map(network, layer)
        self.layer = str(operation.name)
        self.shape = tuple(int(side) for side in operation.output.shape[1:])
        both = keras.Model(network.inputs[0], [operation.output, network.output])

        def seen(images: Any, columns: Any) -> Any:
            activations, outputs = both(images, training=False)
            # In a graph, gradients need no tape, which would watch nothing of a frozen network.
            return activations, tf.gradients(logit(outputs, columns), activations)[0]

        size = network.input_shape[1]
        signature = [tf.TensorSpec([None, size, size, 3], tf.uint8), tf.TensorSpec([None], tf.int64)]
        self._seen = tf.function(seen, input_signature=signature, autograph=False)

    @classmethod
    def of_bundle(cls, bundle: ModelBundle, directory: Path, layer: str | None = None) -> Gradients:
        """Return the network of a bundle whose files are in `directory`; raise ModelError when it has no gradient."""
        return cls(*_of_bundle(bundle, directory), layer)

    def maps(self, images: NDArray[np.uint8], columns: NDArray[np.int64], spec: ExplainerSpec) -> Maps:
        """Return where each picture speaks for some classes.

        Parameters
        ----------
        images : ndarray of shape (n, size, size, 3), uint8
        columns : ndarray of shape (n, m), int
            The classes of each picture.
        spec : ExplainerSpec
            One that needs a gradient.

        Returns
        -------
        ndarray of shape (n, m, h, w), float32
        """
        assert spec.combine is not None
        found = np.empty((*columns.shape, *self.shape[:2]), np.float32)
        for start in range(0, len(images), _PICTURES_AT_A_TIME):
            part = slice(start, start + _PICTURES_AT_A_TIME)
            for place in range(columns.shape[1]):
                activations, gradients = self._seen(images[part], columns[part, place].astype(np.int64))
                found[part, place] = spec.combine(activations.numpy(), gradients.numpy())
        return found


def network_of(bundle: ModelBundle, directory: Path) -> Any:
    """Return the Keras network of a bundle, with its classes or up to its features."""
    return load_keras(directory / (NETWORK_FILE if bundle.kind == "network" else BACKBONE_FILE))


def layer_with_map(network: Any, name: str) -> Any:
    """Return the layer called `name`; raise UnknownNameError, naming the nearest, where no such one gives a map."""
    maps = {operation.name: operation for operation in network.operations if _gives_map(operation)}
    if name not in maps:
        raise UnknownNameError.of(
            "layer with a map",
            name,
            maps,
            f"See all: transfer-cli backbones show NAME. The last are {', '.join(list(maps)[-3:])}.",
        )
    return maps[name]


def _of_bundle(bundle: ModelBundle, directory: Path) -> tuple[Any, Any]:
    """Return a network, and the function that makes the logits of some classes of its output."""
    if not has_gradient(bundle):
        classifier = bundle.recipe.get("classifier", {})
        kind = classifier.get("name") if isinstance(classifier, dict) else None
        raise ModelError(
            f"The classifier of this model{f' ({kind})' if kind else ''} has no gradient, which Grad-CAM needs.",
            hint="Add --method occlusion, which takes any model.",
        )
    network = network_of(bundle, directory)
    if bundle.kind == "features":
        kernel = Linear.load(directory / LINEAR_FILE).kernel
        if kernel.shape != (network.output_shape[-1], len(bundle.class_names)):
            raise ModelError(
                f"{LINEAR_FILE} has {kernel.shape}, which does not fit {network.output_shape[-1]} features."
            )
        rows = kernel.T.astype(np.float32)
        # The bias and what is taken out for common classes have no gradient.
        return network, lambda features, columns: tf.reduce_sum(features * tf.gather(rows, columns), axis=1)
    if LOGITS not in [layer.name for layer in network.layers]:
        raise ModelError(f"{directory / NETWORK_FILE} has no layer {LOGITS!r}, from which a gradient would begin.")
    upto = keras.Model(network.inputs[0], network.get_layer(LOGITS).output)
    return upto, lambda logits, columns: tf.gather(logits, columns, axis=1, batch_dims=1)


def _last_map(network: Any) -> Any:
    maps = [each for each in cut_points(network) if _gives_map(each) and min(each.output.shape[1:3]) > 1]
    # What only pads moves the places, and adds some where nothing is.
    maps = [each for each in maps if not isinstance(each, keras.layers.ZeroPadding2D)]
    # Below the first weights there is but the picture, in other numbers.
    maps = maps if any(getattr(each, "weights", None) for each in maps) else []
    if not maps:
        raise ModelError(
            "The network has no map of more than one place that all of it passes through.",
            hint="Add --method occlusion, or name a layer with --layer.",
        )
    return maps[-1]


def _gives_map(operation: Any) -> bool:
    output = operation.output
    return hasattr(output, "shape") and len(output.shape) == 4 and str(output.dtype).startswith(("float", "bfloat"))
