"""A copy of the upper part of a network beside it: pretrained and trained layers above common ones, in one graph."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

PRETRAINED = "pretrained_"
"""Names of the copied layers begin with it."""
JOINED = "joined_features"


def pretrained_branch(network: keras.Model, trained: Collection[str]) -> keras.Model:
    """Return a network that shares all layers below those that train, and has copies of the others.

    Parameters
    ----------
    network : keras.Model
        With a flat graph, one input and one output, and the pretrained weights, which the copies take over.
    trained : collection of str
        Names of the layers that train.
    """
    changed: set[int] = set()

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        above = any(id(tensor) in changed for tensor in keras.tree.flatten((args, kwargs)))
        if not above and operation.name not in trained:
            return operation.output
        copy = type(operation).from_config({**operation.get_config(), "name": f"{PRETRAINED}{operation.name}"})
        output = copy(*args, **kwargs)
        changed.update(id(tensor) for tensor in keras.tree.flatten(output))
        # The graph holds the tensors while it is walked, so that no other one gets the same id.
        if getattr(operation, "weights", ()):
            copy.set_weights(operation.get_weights())
        return output

    output = network._run_through_graph(network.inputs, operation_fn=lambda operation: operation, call_fn=call)
    return keras.Model(network.inputs[0], output, name=f"{PRETRAINED}{network.name}")


def join(network: keras.Model, branch: keras.Model) -> keras.Model:
    """Return the features of both as one vector: first those of the network.

    Parameters
    ----------
    network, branch : keras.Model
        From the same input to features of shape (n, width) each.
    """
    joined = keras.layers.Concatenate(name=JOINED)([network.output, branch.output])
    return keras.Model(network.inputs[0], joined, name=f"{network.name}_{JOINED}")
