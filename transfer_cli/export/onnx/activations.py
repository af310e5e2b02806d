"""Activations as nodes of an ONNX graph."""

from __future__ import annotations

import math
from typing import Any

from transfer_cli.export.onnx.graph_builder import Drawing, UnknownOperationError, Value, like, with_constant


def rectified(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Add a ReLU layer."""
    value = drawing.plain(inputs[0])
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise UnknownOperationError(f"{layer.name} is a ReLU with a threshold or a slope and a bound")
    if layer.negative_slope:
        return like(value, drawing.node("LeakyRelu", value.name, alpha=float(layer.negative_slope)))
    return _clipped(drawing, value, layer.max_value)


def _clipped(drawing: Drawing, value: Value, most: float | None) -> Value:
    if most is None:
        return like(value, drawing.node("Relu", value.name))
    return like(value, drawing.node("Clip", value.name, drawing.constant(0.0), drawing.constant(most)))


def activated(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Add the activation of a layer to what it gives."""
    name = layer.activation.__name__
    value = drawing.plain(inputs[0])
    if name == "linear":
        return value
    if name == "relu6":
        return _clipped(drawing, value, 6.0)
    if name == "silu":
        return like(value, drawing.node("Mul", value.name, drawing.node("Sigmoid", value.name)))
    if name == "gelu":
        inner = with_constant(drawing, "Div", value, math.sqrt(2.0))
        share = with_constant(drawing, "Add", like(value, drawing.node("Erf", inner.name)), 1.0)
        product = like(value, drawing.node("Mul", value.name, share.name))
        return with_constant(drawing, "Mul", product, 0.5)
    if name == "softmax":
        value = drawing.straight(value)
        return like(value, drawing.node("Softmax", value.name, axis=-1))
    if name not in _ACTIVATIONS:
        raise UnknownOperationError(f"{layer.name} has the activation {name}")
    kind, attributes = _ACTIVATIONS[name]
    return like(value, drawing.node(kind, value.name, **attributes))


_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
}
