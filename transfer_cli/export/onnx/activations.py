"""Activations as nodes of an ONNX graph."""

from __future__ import annotations

import math
from typing import Any

from transfer_cli.export.onnx.graph_builder import (
    GraphBuilder,
    UnsupportedOperationError,
    Value,
    same_layout,
    with_constant,
)


def relu(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a ReLU layer."""
    value = builder.apply_padding(inputs[0])
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise UnsupportedOperationError(f"{layer.name}: ReLU with a threshold, or with a slope and a maximum")
    if layer.negative_slope:
        return same_layout(value, builder.add_node("LeakyRelu", value.name, alpha=float(layer.negative_slope)))
    return _clipped_relu(builder, value, layer.max_value)


def _clipped_relu(builder: GraphBuilder, value: Value, maximum: float | None) -> Value:
    if maximum is None:
        return same_layout(value, builder.add_node("Relu", value.name))
    limits = builder.add_constant(0.0), builder.add_constant(maximum)
    return same_layout(value, builder.add_node("Clip", value.name, *limits))


def activation(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add the activation of a layer."""
    name = layer.activation.__name__
    value = builder.apply_padding(inputs[0])
    if name == "linear":
        return value
    if name == "relu6":
        return _clipped_relu(builder, value, 6.0)
    if name == "silu":
        return same_layout(value, builder.add_node("Mul", value.name, builder.add_node("Sigmoid", value.name)))
    if name == "gelu":
        scaled = with_constant(builder, "Div", value, math.sqrt(2.0))
        factor = with_constant(builder, "Add", same_layout(value, builder.add_node("Erf", scaled.name)), 1.0)
        product = same_layout(value, builder.add_node("Mul", value.name, factor.name))
        return with_constant(builder, "Mul", product, 0.5)
    if name == "softmax":
        value = builder.to_nhwc(value)
        return same_layout(value, builder.add_node("Softmax", value.name, axis=-1))
    if name not in _ACTIVATIONS:
        raise UnsupportedOperationError(f"{layer.name}: activation {name}")
    kind, attributes = _ACTIVATIONS[name]
    return same_layout(value, builder.add_node(kind, value.name, **attributes))


_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
}
