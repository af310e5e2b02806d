"""Each operation of a Keras network as nodes of an ONNX graph: a row of a table for each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from transfer_cli.export.onnx.activations import activated, rectified
from transfer_cli.export.onnx.convolutions import (
    conv,
    cropped,
    depthwise,
    grey,
    padded,
    pooled,
    pooled_whole,
    separable,
)
from transfer_cli.export.onnx.graph_builder import (
    TURNED,
    Drawing,
    UnknownOperationError,
    Value,
    array_of,
    like,
    with_constant,
)


def draw(network: Any, drawing: Drawing, value: Value) -> Value:
    """Add the operations of a network with one input and one output; return that output.

    Raises
    ------
    UnknownOperationError
        At an operation that no row knows.
    """
    values = {id(network.inputs[0]): value}
    by_depth = network._functional._nodes_by_depth if isinstance(network, keras.Sequential) else network._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            operation = node.operation
            if isinstance(operation, keras.layers.InputLayer):
                continue
            inputs = [values[id(tensor)] for tensor in node.input_tensors]
            drawn = _drawn(drawing, operation, inputs, node)
            (output,) = node.output_tensors
            values[id(output)] = Value(drawn.name, tuple(output.shape), drawn.turned, drawn.margins)
    return values[id(network.outputs[0])]


def _drawn(drawing: Drawing, operation: Any, inputs: list[Value], node: Any) -> Value:
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        return draw(operation, drawing, inputs[0])
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        raise UnknownOperationError(f"{operation.name} has its channels first")
    if kind in _NUMBER_BY_NUMBER:
        return _number_by_number(drawing, _NUMBER_BY_NUMBER[kind], inputs, node.arguments.args)
    if kind in _LAYERS:
        return _LAYERS[kind](drawing, operation, inputs)
    if kind == "GetItem":
        return _channel(drawing, inputs[0], node.arguments.args[1], operation.name)
    raise UnknownOperationError(f"{operation.name} is a {kind}")


def _same(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return inputs[0]


def _cast(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    if keras.backend.standardize_dtype(operation.dtype) != "float32":
        raise UnknownOperationError(f"{operation.name} casts to {operation.dtype}")
    value = drawing.turned(inputs[0])
    return like(value, drawing.node("Cast", value.name, to=onnx.TensorProto.FLOAT))


def _number_by_number(drawing: Drawing, kind: str, inputs: list[Value], arguments: Sequence[Any]) -> Value:
    if len(inputs) == 1 and len(arguments) == 2:
        first, second = arguments
        swapped = isinstance(second, keras.KerasTensor)
        return with_constant(drawing, kind, inputs[0], first if swapped else second, swapped=swapped)
    ranks = {len(value.shape) for value in inputs}
    if len(ranks) != 1:
        raise UnknownOperationError(f"{kind} of tensors of {ranks} axes")
    straight = not any(value.turned or any(value.margins) for value in inputs)
    laid_out = [drawing.straight(value) if straight else drawing.turned(value) for value in inputs]
    name = laid_out[0].name
    for other in laid_out[1:]:
        name = drawing.node(kind, name, other.name)
    return like(laid_out[0], name)


def _channel(drawing: Drawing, value: Value, which: Any, name: str) -> Value:
    # Out of a file, a tuple comes as a list.
    if not (isinstance(which, tuple | list) and len(which) == 2 and which[0] is Ellipsis and isinstance(which[1], int)):
        raise UnknownOperationError(f"{name} takes {which} of a tensor")
    value = drawing.plain(value)
    axis = 1 if value.turned else len(value.shape) - 1
    return Value(drawing.node("Gather", value.name, drawing.constant(which[1], np.int64), axis=axis), ())


def _stacked(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    if operation.axis != -1 or len(inputs[0].shape) != 3:
        raise UnknownOperationError(f"{operation.name} stacks along axis {operation.axis}")
    axis = drawing.constant([1], np.int64)
    parts = [drawing.node("Unsqueeze", value.name, axis) for value in inputs]
    return Value(drawing.node("Concat", *parts, axis=1), (), turned=True)


def _concatenated(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    rank = len(inputs[0].shape)
    axis = layer.axis % rank
    laid_out = [drawing.turned(value) for value in inputs]
    place = TURNED.index(axis) if rank == 4 else axis
    return like(laid_out[0], drawing.node("Concat", *(value.name for value in laid_out), axis=place))


def _dense(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.straight(inputs[0])
    kernel = drawing.constant(array_of(layer.kernel))
    bias = [drawing.constant(array_of(layer.bias))] if layer.use_bias else []
    if len(value.shape) == 2:
        name = drawing.node("Gemm", value.name, kernel, *bias)
    else:
        name = drawing.node("MatMul", value.name, kernel)
        name = drawing.node("Add", name, *bias) if bias else name
    return activated(drawing, layer, [like(value, name)])


def _batch_normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.turned(inputs[0])
    if layer.axis not in (-1, len(value.shape) - 1):
        raise UnknownOperationError(f"{layer.name} normalises axis {layer.axis}")
    mean, variance = array_of(layer.moving_mean), array_of(layer.moving_variance)
    scale = array_of(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = array_of(layer.beta) if layer.center else np.zeros_like(mean)
    names = [drawing.constant(array) for array in (scale, shift, mean, variance)]
    return like(value, drawing.node("BatchNormalization", value.name, *names, epsilon=layer.epsilon))


def _layer_normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.straight(inputs[0])
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [len(value.shape) - 1]) or layer.rms_scaling:
        raise UnknownOperationError(f"{layer.name} normalises axes {axes}")
    width = value.shape[-1]
    scale = array_of(layer.gamma) if layer.scale else np.ones(width or 0)
    names = [drawing.constant(scale)] + ([drawing.constant(array_of(layer.beta))] if layer.center else [])
    name = drawing.node("LayerNormalization", value.name, *names, axis=-1, epsilon=layer.epsilon)
    return like(value, name)


def _normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    if layer.invert:
        raise UnknownOperationError(f"{layer.name} inverts a normalisation")
    value = with_constant(drawing, "Sub", inputs[0], layer.mean)
    deviation = np.maximum(np.sqrt(array_of(layer.variance)), keras.config.epsilon())
    return with_constant(drawing, "Div", value, deviation)


def _rescaled(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = with_constant(drawing, "Mul", inputs[0], layer.scale)
    return with_constant(drawing, "Add", value, layer.offset) if np.any(layer.offset) else value


def _scaled(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return with_constant(drawing, "Mul", inputs[0], layer.gamma)


def _added_in_part(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return _number_by_number(drawing, "Add", [inputs[0], with_constant(drawing, "Mul", inputs[1], layer.scale)], ())


def _logarithm(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    value = drawing.plain(inputs[0])
    return like(value, drawing.node("Log", value.name))


def _highest(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    value = inputs[0]
    if len(value.shape) != 2 or np.ravel(operation.axis).tolist() not in ([-1], [1]) or not operation.keepdims:
        raise UnknownOperationError(f"{operation.name} takes the highest along axis {operation.axis}")
    return Value(drawing.node("ReduceMax", value.name, axes=[1], keepdims=1), ())


def _flattened(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return Value(drawing.node("Flatten", drawing.straight(inputs[0]).name), ())


def _reshaped(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    shape = list(layer.target_shape)
    value = drawing.straight(inputs[0])
    # A row as a map of one pixel is the same in both layouts, and a convolution follows.
    turned = len(shape) == 3 and shape[:2] == [1, 1]
    wanted = [shape[2], 1, 1] if turned else shape
    if -1 in wanted:
        raise UnknownOperationError(f"{layer.name} leaves an axis open")
    return Value(drawing.node("Reshape", value.name, drawing.constant([0, *wanted], np.int64)), (), turned=turned)


_NUMBER_BY_NUMBER = {
    "Add": "Add",
    "Divide": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Subtract": "Sub",
    "TrueDivide": "Div",
}
_LAYERS: dict[str, Callable[[Drawing, Any, list[Value]], Value]] = {
    "Activation": activated,
    "AveragePooling2D": pooled("AveragePool"),
    "BatchNormalization": _batch_normalised,
    "Cast": _cast,
    "Concatenate": _concatenated,
    "Conv2D": conv,
    "Cropping2D": cropped,
    "CustomScaleLayer": _added_in_part,
    "Dense": _dense,
    "DepthwiseConv2D": depthwise,
    "Dropout": _same,
    "Flatten": _flattened,
    "GlobalAveragePooling2D": pooled_whole("GlobalAveragePool"),
    "GlobalMaxPooling2D": pooled_whole("GlobalMaxPool"),
    "LayerNormalization": _layer_normalised,
    "LayerScale": _scaled,
    "Log": _logarithm,
    "Max": _highest,
    "MaxPooling2D": pooled("MaxPool"),
    "Normalization": _normalised,
    "RGBToGrayscale": grey,
    "ReLU": rectified,
    "Rescaling": _rescaled,
    "Reshape": _reshaped,
    "SeparableConv2D": separable,
    "Stack": _stacked,
    "StochasticDepth": _same,
    "ZeroPadding2D": padded,
}

KINDS = (*_LAYERS, *_NUMBER_BY_NUMBER, "GetItem")
"""Every kind of operation that can be drawn, by the name of its class."""
