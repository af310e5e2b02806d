"""The layers of a network whose output is a feature map."""

from __future__ import annotations

from typing import Any

import keras

from transfer_cli.errors import ModelError, UnknownNameError
from transfer_cli.models.feature_levels import top_map
from transfer_cli.models.freezing import cut_points


def find_feature_map(network: Any, name: str) -> Any:
    """Return the layer called `name`; raise UnknownNameError if no layer of this name outputs a feature map."""
    layers = {operation.name: operation for operation in network.operations if _is_feature_map(operation)}
    if name not in layers:
        raise UnknownNameError.of(
            "layer with a feature map",
            name,
            layers,
            f"List all layers: transfer-cli inspect RUN. The last are {', '.join(list(layers)[-3:])}.",
        )
    return layers[name]


def last_feature_map(network: Any) -> Any:
    """Return the last layer with a feature map larger than 1 x 1 that all paths of the network pass through.

    Raises
    ------
    ModelError
        If there is none.
    """
    top = top_map(network)
    # The features of several levels have paths that leave out the last feature map.
    through = network if top is None else keras.Model(network.inputs[0], top)
    layers = [each for each in cut_points(through) if _is_feature_map(each) and min(each.output.shape[1:3]) > 1]
    # Padding shifts positions and adds empty ones.
    layers = [each for each in layers if not isinstance(each, keras.layers.ZeroPadding2D)]
    # Without weights they only rescale the pixels.
    if not any(getattr(each, "weights", None) for each in layers):
        raise ModelError(
            "The network has no feature map larger than 1 x 1 that all its paths pass through.",
            hint="Add --method occlusion, or name a layer with --layer.",
        )
    return layers[-1]


def _is_feature_map(operation: Any) -> bool:
    output = operation.output
    return hasattr(output, "shape") and len(output.shape) == 4 and str(output.dtype).startswith(("float", "bfloat"))
