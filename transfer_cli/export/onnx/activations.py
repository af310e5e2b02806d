"""Activations as nodes of an ONNX graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transfer_cli.export.onnx.graph_builder import GraphBuilder, Value, require, to_array


def relu(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a ReLU layer."""
    value, slope = builder.apply_padding(inputs[0]), layer.negative_slope
    is_supported = not layer.threshold and not (slope and layer.max_value is not None)
    require(is_supported, f"{layer.name}: ReLU with a threshold, or with a slope and a maximum")
    if slope:
        return builder.apply("LeakyRelu", value, alpha=float(slope))
    return builder.apply("Relu", value) if layer.max_value is None else _clip(builder, value, layer.max_value)


def leaky_relu(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a LeakyReLU layer."""
    return builder.apply("LeakyRelu", builder.apply_padding(inputs[0]), alpha=float(layer.negative_slope))


def elu(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add an ELU layer."""
    return builder.apply("Elu", builder.apply_padding(inputs[0]), alpha=float(layer.alpha))


def prelu(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a PReLU layer that has one slope per channel."""
    slope = to_array(layer.alpha)
    require(slope.size == slope.shape[-1], f"{layer.name}: PReLU with slopes of shape {slope.shape}")
    return builder.apply_constant("PRelu", inputs[0], slope)


def softmax(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a Softmax layer."""
    value = builder.to_nhwc(inputs[0])
    require(layer.axis in (-1, len(value.shape) - 1), f"{layer.name}: softmax along axis {layer.axis}")
    return builder.apply("Softmax", value, axis=-1)


def _clip(builder: GraphBuilder, value: Value, maximum: float) -> Value:
    return builder.apply("Clip", value, np.float32(0), np.float32(maximum))


def activation(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add the activation of a layer."""
    value = builder.apply_padding(inputs[0])
    match layer.activation.__name__:
        case "linear":
            return value
        case "relu6":
            return _clip(builder, value, 6)
        case "silu":
            return builder.apply("Mul", value, builder.add_node("Sigmoid", value.name))
        case "gelu":
            scaled = builder.apply_constant("Div", value, math.sqrt(2.0))
            factor = builder.apply_constant("Add", builder.apply("Erf", scaled), 1.0)
            return builder.apply_constant("Mul", builder.apply("Mul", value, factor.name), 0.5)
        case "softmax":
            return builder.apply("Softmax", builder.to_nhwc(value), axis=-1)
        case name:
            require(name in _ACTIVATIONS, f"{layer.name}: activation {name}")
            kind, attributes = _ACTIVATIONS[name]
            return builder.apply(kind, value, **attributes)


_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "selu": ("Selu", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
}
