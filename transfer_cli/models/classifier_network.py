"""A backbone with a new head on it: the network that is fine-tuned, and that predicts afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import heads
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError, RunError
from transfer_cli.recipe.sections import Head

LOGITS = "logits"
"""The last dense layer of every head."""
PROBABILITIES = "probabilities"
"""The last layer of all."""
_SURE = 30.0
"""Logits beyond this are certain in float32."""


class Network:
    """A backbone and a head.

    Attributes
    ----------
    features : keras.Model
        From uint8 pictures of shape (n, size, size, 3) to features of shape (n, width).
    head : keras.Model
        From features to logits of shape (n, classes).
    whole : keras.Model
        From pictures to probabilities, float32 of shape (n, classes), with a flat graph.
    below_logits : keras.Model
        From pictures to what the last dense layer reads, float32 of shape (n, width).
    activation : callable
        What makes probabilities of logits.
    has_norms : bool
        Whether the backbone holds a BatchNorm, and so answers as in inference whatever learns of it. In one without,
        dropout acts above the lowest layer that learns.
    """

    def __init__(self, features: keras.Model, head: Head, classes: int, seed: int, activation: str = "softmax") -> None:
        spec = heads.find(head.kind)
        # What was drawn for the backbone must not decide what is drawn for the head.
        keras.utils.set_random_seed(seed)
        inputs = keras.Input(features.output_shape[1:], name="features")
        logits = spec.build(inputs, classes, head.units or 0, head.dropout, head.l2)
        self.features = features
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

    @property
    def width(self) -> int:
        """Numbers a feature of the backbone."""
        return int(self.features.output_shape[-1])

    @property
    def read_out(self) -> Linear:
        """The last dense layer, from the features it reads to probabilities."""
        kernel, bias = (np.asarray(array, np.float64) for array in self.head.get_layer(LOGITS).get_weights())
        return Linear(kernel, bias, self.activation.__name__)

    def start_from_probe(self, pipeline: Any, offsets: NDArray[np.float64]) -> None:
        """Put a fitted logistic regression and its scaler into the one dense layer of the head.

        Its answers on the same features are the classifier's (the first step of LP-FT, Kumar et al. 2022), less
        `offsets`, one a class, in its logits.
        """
        folded = Linear.fold(pipeline, self.head.output_shape[-1])
        # A label that all pictures have, or none, has no finite bias; a training could not go on from that.
        bias = np.clip(folded.bias - offsets, -_SURE, _SURE).astype(np.float32)
        self.head.get_layer(LOGITS).set_weights([folded.kernel.astype(np.float32), bias])

    def weights(self, layers: set[str]) -> dict[str, NDArray[Any]]:
        """Return the weights of the head and of the named layers of the backbone.

        They are called by their places in the graph: Keras numbers layers without a name of their own over the whole
        life of a process.
        """
        return {name: np.asarray(variable) for name, variable in self._variables(layers)}

    def set_weights(self, weights: Mapping[str, NDArray[Any]], layers: set[str]) -> None:
        """Set what `weights` returned.

        Raises
        ------
        RunError
            When they are those of another network.
        """
        variables = dict(self._variables(layers))
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in weights.items()}:
            raise RunError("The checkpoint is one of another network.", hint="Begin this run anew with --overwrite.")
        for name, variable in variables.items():
            variable.assign(weights[name])

    def set_dropout(self, seed: tuple[int, int]) -> None:
        """Let dropout draw what belongs to a seed, whatever was drawn before."""
        layers = [*self.head.layers, *self.features.layers]
        dropouts = [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]
        for number, layer in enumerate(dropouts):
            # The second word counts steps: only with another first one do no two layers draw the same.
            layer.seed_generator.state.assign(np.array([(seed[0] + number) % 2**32, seed[1]], np.uint32))

    def _variables(self, layers: set[str]) -> list[tuple[str, Any]]:
        chosen = [(f"backbone/{place}", layer) for place, layer in enumerate(self.features.layers)]
        chosen = [(place, layer) for place, layer in chosen if layer.name in layers]
        chosen += [(f"head/{place}", layer) for place, layer in enumerate(self.head.layers)]
        return [
            (f"{place}/{number}/{variable.name}", variable)
            for place, layer in chosen
            for number, variable in enumerate(layer.weights)
        ]


class Whole:
    """A network out of a file, as far as it is needed when all is learnt.

    Parameters
    ----------
    whole : keras.Model
        One that `Network` made.
    width : int
        Numbers a feature of its backbone.

    Attributes
    ----------
    whole, width
    below_logits : keras.Model
        As of `Network`.
    """

    def __init__(self, whole: keras.Model, width: int) -> None:
        self.whole, self.width = whole, width
        self.below_logits = below_logits_of(whole)

    @property
    def read_out(self) -> Linear:
        """The last dense layer, from the features it reads to probabilities."""
        kernel, bias = (np.asarray(array, np.float64) for array in self.whole.get_layer(LOGITS).get_weights())
        return Linear(kernel, bias, self.whole.get_layer(PROBABILITIES).activation.__name__)


def below_logits_of(whole: keras.Model) -> keras.Model:
    """Return a network out of a file up to what its last dense layer reads, float32 of shape (n, width).

    Raises
    ------
    ModelError
        When it is not one that `Network` made.
    """
    try:
        features = whole.get_layer(LOGITS).input
    except ValueError as error:
        raise ModelError(f"The network has no layer {LOGITS}: {error}") from None
    return keras.Model(whole.inputs[0], features, name=f"{whole.name}_features")
