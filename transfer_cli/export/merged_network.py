"""Merge the files of a bundle, or all members of an ensemble, into one Keras network from images to probabilities."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.calibration import temperature as temperature_scaling
from transfer_cli.catalog import ensemble_methods
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError
from transfer_cli.inference import ensemble_model
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.load import has_gradient, linear_of
from transfer_cli.inference.network_sources import is_below_logits, load_network, network_file
from transfer_cli.models.classifier_network import LOGITS

_MAX_LOGIT = 1e4
"""Logits are clipped to +-1e4. A class with -1e4 is impossible: runtimes do not agree on how to handle infinity."""
_VOTE_SLOPE = 1e12
"""Turns a difference in the last digit of a float32 probability into a vote."""
_POSITIVE_SLOPE = 1e38
"""Turns every probability above zero into one."""

Tensor = Any


def merge_model(opened: OpenedBundle) -> Any:
    """Return the network and the classifier of a bundle as one network.

    The classifier, the correction of class frequencies and the temperature become one dense layer: dividing its kernel
    and bias by the temperature divides the logits.

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k). No layer is itself a model. The layers that
        the last stage of the training trained are trainable: after `extract` the classifier alone.

    Raises
    ------
    ModelError
        When the classifier is not linear.
    """
    if not has_gradient(opened.bundle):
        raise ModelError("The classifier of this model is not linear, so it cannot be a layer of a network.")
    network = load_network(opened)
    linear = _calibrated(opened, network.output_shape[-1])
    if linear is None:
        return network
    dense = keras.layers.Dense(len(linear.bias), name=LOGITS)
    probabilities = keras.layers.Activation(linear.activation, name=OUTPUT, dtype="float32")
    model = keras.Model(network.inputs[0], probabilities(dense(network.output)), name=network.name)
    _set_weights(dense, linear)
    return model


def merge_ensemble(opened: OpenedBundle) -> Any:
    """Return an ensemble as one network; a network that several members share is included once.

    Parameters
    ----------
    opened : OpenedBundle
        An ensemble that passed `merge_support.check_mergeable`.

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k). The members' networks are layers of it, as
        trainable as their last stages left them.

    Raises
    ------
    ModelError
        When the files of the ensemble do not fit together.
    """
    size = opened.bundle.image_size
    builder = _EnsembleBuilder(keras.Input((size, size, 3), dtype="uint8", name=INPUT))
    probabilities = keras.layers.Activation("linear", name=OUTPUT, dtype="float32")(builder.predict(opened))
    model = keras.Model(builder.images, probabilities, name="ensemble")
    builder.set_weights()
    return model


class _EnsembleBuilder:
    """Builds the graph of an ensemble: the predictions of all members for one input."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._network_outputs: dict[tuple[str, bool], Tensor] = {}
        self._dense_layers: list[tuple[Any, Linear]] = []

    def predict(self, opened: OpenedBundle) -> Tensor:
        """Return the calibrated probabilities of a model or an ensemble."""
        if not opened.members:
            return self._predict_single(opened)
        bundle = opened.bundle
        predictions = [self.predict(member) for member in opened.members]
        if bundle.combination == ensemble_methods.STACK:
            logs = [keras.ops.log(keras.ops.maximum(each, ensemble_model.MIN_PROBABILITY)) for each in predictions]
            linear = _calibrated(opened, len(predictions) * len(bundle.class_names))
            assert linear is not None
            return self._classify(keras.layers.Concatenate()(logs), linear)
        if bundle.combination == ensemble_methods.VOTE:
            return _apply_temperature(_majority(predictions), bundle.temperature)
        weights = [member.weight for member in bundle.members]
        return _apply_temperature(_weighted_mean(predictions, weights), bundle.temperature)

    def set_weights(self) -> None:
        """Set the weights of the dense layers, which exist only once the model is built."""
        for dense, linear in self._dense_layers:
            _set_weights(dense, linear)

    def _predict_single(self, opened: OpenedBundle) -> Tensor:
        bundle = opened.bundle
        # A file that another member uses, too, is not loaded again.
        key = bundle.files[network_file(opened).name].sha256, is_below_logits(bundle)
        if key not in self._network_outputs:
            network = load_network(opened)
            name = f"network_{len(self._network_outputs) + 1}"
            network = keras.Model(network.inputs[0], network.output, name=name)
            self._network_outputs[key] = network(self.images)
        output = self._network_outputs[key]
        linear = _calibrated(opened, output.shape[-1])
        return output if linear is None else self._classify(output, linear)

    def _classify(self, features: Tensor, linear: Linear) -> Tensor:
        dense = keras.layers.Dense(len(linear.bias), name=f"{LOGITS}_{len(self._dense_layers) + 1}")
        self._dense_layers.append((dense, linear))
        return keras.layers.Activation(linear.activation, dtype="float32")(dense(features))


def _calibrated(opened: OpenedBundle, width: int) -> Linear | None:
    """Return the linear classifier of a bundle, which must have `width` inputs, with the bundle's corrections."""
    linear = linear_of(opened, width)
    return linear and linear.calibrated(opened.bundle.log_prior, opened.bundle.temperature)


def _set_weights(dense: Any, linear: Linear) -> None:
    bias = np.clip(linear.bias, -_MAX_LOGIT, _MAX_LOGIT).astype(np.float32)
    dense.set_weights([linear.kernel.astype(np.float32), bias])


def _weighted_mean(predictions: list[Tensor], weights: list[float]) -> Tensor:
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    total = predictions[0] * float(shares[0])
    for each, share in zip(predictions[1:], shares[1:], strict=True):
        total = total + each * float(share)
    return total


def _majority(predictions: list[Tensor]) -> Tensor:
    """Compute `inference.ensemble_model.majority`; a vote is 1 for the highest probability, and 0 for the others."""
    votes = []
    for each in predictions:
        below_highest = each - keras.ops.max(each, axis=-1, keepdims=True)
        votes.append(keras.ops.maximum(below_highest * _VOTE_SLOPE + 1.0, 0.0))
    total = _weighted_mean(predictions, [1.0] * len(predictions)) * 0.5
    for vote in votes:
        total = total + vote
    return total * (1 / (len(predictions) + 0.5))


def _apply_temperature(probabilities: Tensor, temperature: float | None) -> Tensor:
    """Compute `calibration.temperature.apply_temperature`."""
    if temperature is None or temperature == 1:
        return probabilities
    logits = keras.ops.log(keras.ops.maximum(probabilities, temperature_scaling.MIN_PROBABILITY)) * (1 / temperature)
    # The bound is high for possible classes, and so low for impossible ones that they stay impossible. Adding it to
    # the logits instead would lose digits, because TensorFlow reorders sums with constants.
    bound = keras.ops.minimum(probabilities * _POSITIVE_SLOPE, 1.0) * (2 * _MAX_LOGIT) - _MAX_LOGIT
    return keras.layers.Activation("softmax", dtype="float32")(keras.ops.minimum(logits, bound))
