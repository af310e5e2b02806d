"""A backbone with a new head: the network that is fine-tuned and that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import heads
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError, RunError
from transfer_cli.recipe.sections import Head

LOGITS = "logits"
"""Name of the last dense layer of every head."""
PROBABILITIES = "probabilities"
"""Name of the last layer."""
_MAX_LOGIT = 30.0
"""Logits beyond this saturate in float32."""


_SURE = 1e9
"""Logit of a class that all training images have; below 0: of one that none has."""


class _LinearTop:
    """A network whose last two layers are the dense layer `LOGITS` and the activation `PROBABILITIES`."""

    whole: keras.Model

    @property
    def read_out(self) -> Linear:
        """The last dense layer as a linear classifier of its input."""
        kernel, bias = (np.asarray(array, np.float64) for array in self.whole.get_layer(LOGITS).get_weights())
        return Linear(kernel, bias, self.whole.get_layer(PROBABILITIES).activation.__name__)


class ClassifierNetwork(_LinearTop):
    """A backbone and a head.

    Attributes
    ----------
    features : keras.Model
        From uint8 images of shape (n, size, size, 3) to features of shape (n, width).
    head : keras.Model
        From features to logits of shape (n, classes).
    whole : keras.Model
        From images to probabilities, float32 of shape (n, classes), with a flat graph.
    below_logits : keras.Model
        From images to the input of the last dense layer, float32 of shape (n, width).
    width : int
        Length of the backbone's feature vector.
    activation : callable
        From logits to probabilities.
    has_norms : bool
        Whether the backbone has BatchNorm layers; it then always runs in inference mode. Without, dropout is active
        above the lowest trained layer.
    """

    def __init__(self, features: keras.Model, head: Head, classes: int, seed: int, activation: str = "softmax") -> None:
        spec = heads.find(head.kind)
        # The head's initial weights must not depend on how the backbone was initialised.
        keras.utils.set_random_seed(seed)
        inputs = keras.Input(features.output_shape[1:], name="features")
        logits = spec.build(inputs, classes, head.hidden, head.dropout, head.l2, head.batch_norm)
        self.features, self.width = features, int(features.output_shape[-1])
        self.has_norms = any(isinstance(layer, keras.layers.BatchNormalization) for layer in features.layers)
        self.head = keras.Model(inputs, logits, name="head")
        tensor = below = features.output
        for layer in self.head.layers[1:]:
            below = tensor if layer.name == LOGITS else below
            tensor = layer(tensor)
        self.below_logits = keras.Model(features.inputs[0], below, name=f"{features.name}_{head.kind}_features")
        self.activation = keras.activations.get(activation)
        probabilities = keras.layers.Activation(activation, name=PROBABILITIES, dtype="float32")(tensor)
        self.whole = keras.Model(features.inputs[0], probabilities, name=f"{features.name}_{head.kind}")

    def train_head(self, features: Any) -> Any:
        """Return the logits of a training batch of features, in a graph; both are tensors.

        The BatchNorm layers of the head use the statistics of the batch. Those of a single image would turn it into
        zeros: it is normalised by the moving ones, which it leaves unchanged.
        """
        norms = [layer for layer in self.head.layers if isinstance(layer, keras.layers.BatchNormalization)]
        if not norms:
            return self.head(features, training=True)
        return tf.cond(
            tf.shape(features)[0] > 1, lambda: self.head(features, training=True), lambda: self._train_one(features)
        )

    def _train_one(self, features: Any) -> Any:
        for layer in self.head.layers[1:]:
            is_random = isinstance(layer, keras.layers.Dropout)
            features = layer(features, training=True) if is_random else layer(features)
        return features

    def start_from_probe(self, pipeline: Any, offsets: NDArray[np.float64]) -> None:
        """Copy a fitted logistic regression with its scaler into the dense layer of a linear head.

        The head then predicts what the classifier predicts (first step of LP-FT, Kumar et al. 2022). `offsets`, one per
        class, are subtracted from the logits.
        """
        folded = Linear.fold(pipeline, self.head.output_shape[-1])
        # A label that all images have, or none, has an infinite bias, from which training could not continue.
        bias = np.clip(folded.bias - offsets, -_MAX_LOGIT, _MAX_LOGIT).astype(np.float32)
        self.head.get_layer(LOGITS).set_weights([folded.kernel.astype(np.float32), bias])

    def weights(self, layers: set[str]) -> dict[str, NDArray[Any]]:
        """Return the weights of the head and of the named layers of the backbone, by their position in the graph.

        Names would not do: Keras numbers unnamed layers over the lifetime of a process.
        """
        return {name: np.asarray(variable) for name, variable in self._variables(layers)}

    def set_weights(self, weights: Mapping[str, NDArray[Any]], layers: set[str]) -> None:
        """Set what `weights` returned.

        Raises
        ------
        RunError
            If they belong to another network.
        """
        variables = dict(self._variables(layers))
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in weights.items()}:
            raise RunError("The checkpoint belongs to another network.", hint="Start this run again with --overwrite.")
        for name, variable in variables.items():
            variable.assign(weights[name])

    def set_dropout(self, seed: tuple[int, int]) -> None:
        """Reset the random state of all dropout layers to a seed."""
        layers = [*self.head.layers, *self.features.layers]
        dropouts = [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]
        for number, layer in enumerate(dropouts):
            # The second number counts steps; different first numbers give each layer its own mask.
            layer.seed_generator.state.assign(np.array([(seed[0] + number) % 2**32, seed[1]], np.uint32))

    def _variables(self, layers: set[str]) -> list[tuple[str, Any]]:
        backbone = enumerate(self.features.layers)
        selected = [(f"backbone/{place}", layer) for place, layer in backbone if layer.name in layers]
        selected += [(f"head/{place}", layer) for place, layer in enumerate(self.head.layers)]
        return [
            (f"{place}/{number}/{variable.name}", variable)
            for place, layer in selected
            for number, variable in enumerate(layer.weights)
        ]


class LoadedNetwork(_LinearTop):
    """A trained network loaded from a file, with what finalizing a run needs.

    Parameters
    ----------
    whole : keras.Model
        As `ClassifierNetwork.whole`.
    width : int
        Length of the backbone's feature vector.

    Attributes
    ----------
    whole, width
    below_logits : keras.Model
        As of `ClassifierNetwork`.
    """

    def __init__(self, whole: keras.Model, width: int) -> None:
        self.whole, self.width = whole, width
        self.below_logits = below_logits_of(whole)


def with_classifier(features: keras.Model, classifier: Linear) -> LoadedNetwork:
    """Return a network from images to the probabilities of a linear classifier of its features.

    Parameters
    ----------
    features : keras.Model
        From uint8 images to features of shape (n, width); its layers are shared.
    classifier : Linear
    """
    width, classes = classifier.kernel.shape
    dense = keras.layers.Dense(classes, name=LOGITS)
    probabilities = keras.layers.Activation(classifier.activation, name=PROBABILITIES, dtype="float32")
    whole = keras.Model(features.inputs[0], probabilities(dense(features.output)), name=f"{features.name}_linear")
    # A label that all training images have, or none, has an infinite bias.
    bias = np.nan_to_num(classifier.bias, posinf=_SURE, neginf=-_SURE)
    dense.set_weights([classifier.kernel.astype(np.float32), bias.astype(np.float32)])
    return LoadedNetwork(whole, width)


def below_logits_of(whole: keras.Model) -> keras.Model:
    """Return a loaded network up to the input of its last dense layer, float32 of shape (n, width).

    Raises
    ------
    ModelError
        If it was not made by `ClassifierNetwork`.
    """
    try:
        features = whole.get_layer(LOGITS).input
    except ValueError as error:
        raise ModelError(f"The network has no layer {LOGITS}: {error}") from None
    return keras.Model(whole.inputs[0], features, name=f"{whole.name}_features")
