"""The operations of a Keras network as nodes of an ONNX graph: one row of a table per kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from transfer_cli.export.onnx.activations import activation, relu
from transfer_cli.export.onnx.convolutions import (
    conv,
    cropping,
    depthwise,
    global_pooling,
    grayscale,
    pooling,
    separable,
    zero_padding,
)
from transfer_cli.export.onnx.graph_builder import (
    NHWC_TO_NCHW,
    GraphBuilder,
    UnsupportedOperationError,
    Value,
    same_layout,
    to_array,
    with_constant,
)


def add_network(network: Any, builder: GraphBuilder, value: Value) -> Value:
    """Add the operations of a network with one input and one output; return that output.

    Raises
    ------
    UnsupportedOperationError
        For an operation that is in none of the tables.
    """
    values = {id(network.inputs[0]): value}
    by_depth = network._functional._nodes_by_depth if isinstance(network, keras.Sequential) else network._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            operation = node.operation
            if isinstance(operation, keras.layers.InputLayer):
                continue
            inputs = [values[id(tensor)] for tensor in node.input_tensors]
            added = _add_operation(builder, operation, inputs, node)
            (output,) = node.output_tensors
            values[id(output)] = Value(added.name, tuple(output.shape), added.is_nchw, added.padding)
    return values[id(network.outputs[0])]


def _add_operation(builder: GraphBuilder, operation: Any, inputs: list[Value], node: Any) -> Value:
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        return add_network(operation, builder, inputs[0])
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        raise UnsupportedOperationError(f"{operation.name}: channels first")
    if kind in _ELEMENTWISE:
        return _elementwise(builder, _ELEMENTWISE[kind], inputs, node.arguments.args)
    if kind in _LAYERS:
        return _LAYERS[kind](builder, operation, inputs)
    if kind == "GetItem":
        return _get_channel(builder, inputs[0], node.arguments.args[1], operation.name)
    raise UnsupportedOperationError(f"{operation.name}: {kind}")


def _identity(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return inputs[0]


def _cast(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    if keras.backend.standardize_dtype(operation.dtype) != "float32":
        raise UnsupportedOperationError(f"{operation.name}: cast to {operation.dtype}")
    value = builder.to_nchw(inputs[0])
    return same_layout(value, builder.add_node("Cast", value.name, to=onnx.TensorProto.FLOAT))


def _elementwise(builder: GraphBuilder, kind: str, inputs: list[Value], arguments: Sequence[Any]) -> Value:
    if len(inputs) == 1 and len(arguments) == 2:
        first, second = arguments
        swapped = isinstance(second, keras.KerasTensor)
        return with_constant(builder, kind, inputs[0], first if swapped else second, swapped=swapped)
    ranks = {len(value.shape) for value in inputs}
    if len(ranks) != 1:
        raise UnsupportedOperationError(f"{kind} of tensors with {ranks} axes")
    are_nhwc = not any(value.is_nchw or any(value.padding) for value in inputs)
    operands = [builder.to_nhwc(value) if are_nhwc else builder.to_nchw(value) for value in inputs]
    name = operands[0].name
    for other in operands[1:]:
        name = builder.add_node(kind, name, other.name)
    return same_layout(operands[0], name)


def _get_channel(builder: GraphBuilder, value: Value, index: Any, name: str) -> Value:
    # Keras loads a tuple from a file as a list.
    if not (isinstance(index, tuple | list) and len(index) == 2 and index[0] is Ellipsis and isinstance(index[1], int)):
        raise UnsupportedOperationError(f"{name}: index {index} of a tensor")
    value = builder.apply_padding(value)
    axis = 1 if value.is_nchw else len(value.shape) - 1
    return Value(builder.add_node("Gather", value.name, builder.add_constant(index[1], np.int64), axis=axis), ())


def _stack(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    if operation.axis != -1 or len(inputs[0].shape) != 3:
        raise UnsupportedOperationError(f"{operation.name}: stack along axis {operation.axis}")
    axis = builder.add_constant([1], np.int64)
    parts = [builder.add_node("Unsqueeze", value.name, axis) for value in inputs]
    return Value(builder.add_node("Concat", *parts, axis=1), (), is_nchw=True)


def _concatenate(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    rank = len(inputs[0].shape)
    axis = layer.axis % rank
    operands = [builder.to_nchw(value) for value in inputs]
    nchw_axis = NHWC_TO_NCHW.index(axis) if rank == 4 else axis
    return same_layout(operands[0], builder.add_node("Concat", *(value.name for value in operands), axis=nchw_axis))


def _dense(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nhwc(inputs[0])
    kernel = builder.add_constant(to_array(layer.kernel))
    bias = [builder.add_constant(to_array(layer.bias))] if layer.use_bias else []
    if len(value.shape) == 2:
        name = builder.add_node("Gemm", value.name, kernel, *bias)
    else:
        name = builder.add_node("MatMul", value.name, kernel)
        name = builder.add_node("Add", name, *bias) if bias else name
    return activation(builder, layer, [same_layout(value, name)])


def _batch_normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nchw(inputs[0])
    if layer.axis not in (-1, len(value.shape) - 1):
        raise UnsupportedOperationError(f"{layer.name}: batch normalization of axis {layer.axis}")
    mean, variance = to_array(layer.moving_mean), to_array(layer.moving_variance)
    scale = to_array(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = to_array(layer.beta) if layer.center else np.zeros_like(mean)
    names = [builder.add_constant(array) for array in (scale, shift, mean, variance)]
    return same_layout(value, builder.add_node("BatchNormalization", value.name, *names, epsilon=layer.epsilon))


def _layer_normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nhwc(inputs[0])
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [len(value.shape) - 1]) or layer.rms_scaling:
        raise UnsupportedOperationError(f"{layer.name}: layer normalization of axes {axes}")
    width = value.shape[-1]
    scale = to_array(layer.gamma) if layer.scale else np.ones(width or 0)
    names = [builder.add_constant(scale)] + ([builder.add_constant(to_array(layer.beta))] if layer.center else [])
    name = builder.add_node("LayerNormalization", value.name, *names, axis=-1, epsilon=layer.epsilon)
    return same_layout(value, name)


def _normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    if layer.invert:
        raise UnsupportedOperationError(f"{layer.name}: inverted normalization")
    value = with_constant(builder, "Sub", inputs[0], layer.mean)
    deviation = np.maximum(np.sqrt(to_array(layer.variance)), keras.config.epsilon())
    return with_constant(builder, "Div", value, deviation)


def _rescaling(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = with_constant(builder, "Mul", inputs[0], layer.scale)
    return with_constant(builder, "Add", value, layer.offset) if np.any(layer.offset) else value


def _layer_scale(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return with_constant(builder, "Mul", inputs[0], layer.gamma)


def _custom_scale(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return _elementwise(builder, "Add", [inputs[0], with_constant(builder, "Mul", inputs[1], layer.scale)], ())


def _log(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    value = builder.apply_padding(inputs[0])
    return same_layout(value, builder.add_node("Log", value.name))


def _max(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    value = inputs[0]
    if len(value.shape) != 2 or np.ravel(operation.axis).tolist() not in ([-1], [1]) or not operation.keepdims:
        raise UnsupportedOperationError(f"{operation.name}: maximum along axis {operation.axis}")
    return Value(builder.add_node("ReduceMax", value.name, axes=[1], keepdims=1), ())


def _flatten(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return Value(builder.add_node("Flatten", builder.to_nhwc(inputs[0]).name), ())


def _reshape(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    shape = list(layer.target_shape)
    value = builder.to_nhwc(inputs[0])
    # A map of one pixel is the same in both layouts, and a convolution follows.
    is_nchw = len(shape) == 3 and shape[:2] == [1, 1]
    target = [shape[2], 1, 1] if is_nchw else shape
    if -1 in target:
        raise UnsupportedOperationError(f"{layer.name}: reshape with a free axis")
    name = builder.add_node("Reshape", value.name, builder.add_constant([0, *target], np.int64))
    return Value(name, (), is_nchw=is_nchw)


_ELEMENTWISE = {
    "Add": "Add",
    "Divide": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Subtract": "Sub",
    "TrueDivide": "Div",
}
_LAYERS: dict[str, Callable[[GraphBuilder, Any, list[Value]], Value]] = {
    "Activation": activation,
    "AveragePooling2D": pooling("AveragePool"),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Concatenate": _concatenate,
    "Conv2D": conv,
    "Cropping2D": cropping,
    "CustomScaleLayer": _custom_scale,
    "Dense": _dense,
    "DepthwiseConv2D": depthwise,
    "Dropout": _identity,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": global_pooling("GlobalAveragePool"),
    "GlobalMaxPooling2D": global_pooling("GlobalMaxPool"),
    "LayerNormalization": _layer_normalization,
    "LayerScale": _layer_scale,
    "Log": _log,
    "Max": _max,
    "MaxPooling2D": pooling("MaxPool"),
    "Normalization": _normalization,
    "RGBToGrayscale": grayscale,
    "ReLU": relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": separable,
    "Stack": _stack,
    "StochasticDepth": _identity,
    "ZeroPadding2D": zero_padding,
}

KINDS = (*_LAYERS, *_ELEMENTWISE, "GetItem")
"""Names of the classes of all supported operations."""
