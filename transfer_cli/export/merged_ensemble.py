"""An ensemble as one Keras network, from pictures to the probabilities that its members give together."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import BACKBONE_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.calibration.temperature import LEAST as LEAST_TEMPERED
from transfer_cli.catalog import ensemble_methods
from transfer_cli.classifiers.linear import Linear
from transfer_cli.export.merged_network import dense_of, features_network, put, whole_network
from transfer_cli.inference.combine import LEAST
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.models.classifier_network import LOGITS

_FAR = 1e4
"""No logit is higher, and minus that is the one of a class that no member holds for possible."""
_SHARPEST = 1e12
"""Two probabilities that differ in the last digit of a float32 differ by more than the reciprocal."""
_VISIBLE = 1e38

Tensor = Any


def whole_ensemble(opened: OpenedBundle) -> Any:
    """Return an ensemble as one network; a network that several members have is in it once.

    Parameters
    ----------
    opened : OpenedBundle
        Of an ensemble that `one_graph.must_fit_one_graph` let pass.

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k). The members' networks are layers of it.

    Raises
    ------
    ModelError
        When a file of it does not fit another.
    """
    size = opened.bundle.image_size
    joining = _Joining(keras.Input((size, size, 3), dtype="uint8", name=INPUT))
    probabilities = keras.layers.Activation("linear", name=OUTPUT, dtype="float32")(joining.answer(opened))
    model = keras.Model(joining.images, probabilities, name="ensemble")
    joining.fill()
    model.trainable = False
    return model


class _Joining:
    """A graph that grows by the answers of models about the same pictures."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._seen: dict[tuple[str, str], Tensor] = {}
        self._matrices: list[tuple[Any, Linear]] = []

    def answer(self, opened: OpenedBundle) -> Tensor:
        """Return what a model says, calibrated as it is when it predicts."""
        if not opened.members:
            return self._of_one(opened)
        bundle = opened.bundle
        given = [self.answer(member) for member in opened.members]
        if bundle.combination == ensemble_methods.STACK:
            logs = [keras.ops.log(keras.ops.maximum(each, LEAST)) for each in given]
            linear = Linear.load(opened.directory / LINEAR_FILE)
            linear.must_read(len(given) * len(bundle.class_names), opened.directory / LINEAR_FILE)
            return self._read(keras.layers.Concatenate()(logs), linear.calibrated(None, bundle.temperature))
        if bundle.combination == ensemble_methods.VOTE:
            return _tempered(_majority(given), bundle.temperature)
        return _tempered(_mean(given, [member.weight for member in bundle.members]), bundle.temperature)

    def fill(self) -> None:
        """Give the dense layers their numbers, which they can have when the graph is whole."""
        for dense, linear in self._matrices:
            put(linear, dense)

    def _of_one(self, opened: OpenedBundle) -> Tensor:
        bundle, directory = opened.bundle, opened.directory
        if LINEAR_FILE not in bundle.files:
            return self._once(bundle, NETWORK_FILE, lambda: whole_network(bundle, directory))
        file = NETWORK_FILE if bundle.kind == "network" else BACKBONE_FILE
        features = self._once(bundle, f"below {file}", lambda: features_network(bundle, directory))
        linear = Linear.load(directory / LINEAR_FILE)
        linear.must_give(len(bundle.class_names), directory / LINEAR_FILE)
        linear.must_read(features.shape[-1], directory / LINEAR_FILE)
        return self._read(features, linear.calibrated(bundle.log_prior, bundle.temperature))

    def _once(self, bundle: ModelBundle, what: str, load: Any) -> Tensor:
        """Return what a network makes of the pictures; one that was asked before is not asked again."""
        key = bundle.files[what.removeprefix("below ")].sha256, what
        if key not in self._seen:
            network = load()
            network = keras.Model(network.inputs[0], network.output, name=f"network_{len(self._seen) + 1}")
            self._seen[key] = network(self.images)
        return self._seen[key]

    def _read(self, features: Tensor, linear: Linear) -> Tensor:
        dense = dense_of(linear, f"{LOGITS}_{len(self._matrices) + 1}")
        self._matrices.append((dense, linear))
        return keras.layers.Activation(linear.activation, dtype="float32")(dense(features))


def _mean(given: list[Tensor], weights: list[float]) -> Tensor:
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    total = given[0] * float(shares[0])
    for each, share in zip(given[1:], shares[1:], strict=True):
        total = total + each * float(share)
    return total


def _majority(given: list[Tensor]) -> Tensor:
    """Return what `combination.majority` does; a vote is 1 at the highest probability, and 0 below."""
    votes = []
    for each in given:
        below = each - keras.ops.max(each, axis=-1, keepdims=True)
        votes.append(keras.ops.maximum(below * _SHARPEST + 1.0, 0.0))
    sureness = _mean(given, [1.0] * len(given))
    total = sureness * 0.5
    for vote in votes:
        total = total + vote
    return total * (1 / (len(given) + 0.5))


def _tempered(probabilities: Tensor, temperature: float | None) -> Tensor:
    """Return what `calibration.tempered` does."""
    if temperature is None or temperature == 1:
        return probabilities
    logits = keras.ops.log(keras.ops.maximum(probabilities, LEAST_TEMPERED)) * (1 / temperature)
    # As high as can be where a class is possible, and so low where it is not that it stays impossible. Added to the
    # logits it would take digits from them: TensorFlow adds constants up in another order than they stand here.
    bound = keras.ops.minimum(probabilities * _VISIBLE, 1.0) * (2 * _FAR) - _FAR
    return keras.layers.Activation("softmax", dtype="float32")(keras.ops.minimum(logits, bound))
