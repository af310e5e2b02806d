"""The operations of a Keras network as nodes of an ONNX graph: one row of a table per kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import onnx

from transfer_cli.export.onnx import convolutions
from transfer_cli.export.onnx.activations import activation, elu, leaky_relu, prelu, relu, softmax
from transfer_cli.export.onnx.graph_builder import NHWC_TO_NCHW, GraphBuilder, Value, arrays, require, to_array


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
            values[id(output)] = replace(added, shape=tuple(output.shape))
    return values[id(network.outputs[0])]


def _add_operation(builder: GraphBuilder, operation: Any, inputs: list[Value], node: Any) -> Value:
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        return add_network(operation, builder, inputs[0])
    is_channels_last = getattr(operation, "data_format", "channels_last") == "channels_last"
    require(is_channels_last, f"{operation.name}: channels first")
    if kind in _ELEMENTWISE:
        return _elementwise(builder, _ELEMENTWISE[kind], inputs, node.arguments.args)
    if kind in _LAYERS:
        return _LAYERS[kind](builder, operation, inputs)
    require(kind == "GetItem", f"{operation.name}: {kind}")
    return _get_channel(builder, inputs[0], node.arguments.args[1], operation.name)


def _identity(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return inputs[0]


def _cast(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    is_float = keras.backend.standardize_dtype(operation.dtype) == "float32"
    require(is_float, f"{operation.name}: cast to {operation.dtype}")
    return builder.apply("Cast", builder.to_nchw(inputs[0]), to=onnx.TensorProto.FLOAT)


def _elementwise(builder: GraphBuilder, kind: str, inputs: list[Value], arguments: Sequence[Any]) -> Value:
    if len(inputs) == 1 and len(arguments) == 2:
        first, second = arguments
        swapped = isinstance(second, keras.KerasTensor)
        return builder.apply_constant(kind, inputs[0], first if swapped else second, swapped=swapped)
    ranks = {len(value.shape) for value in inputs}
    require(len(ranks) == 1, f"{kind} of tensors with {ranks} axes")
    are_nhwc = not any(value.is_nchw or any(value.padding) for value in inputs)
    result, *others = [builder.to_nhwc(value) if are_nhwc else builder.to_nchw(value) for value in inputs]
    for other in others:
        result = builder.apply(kind, result, other.name)
    return result


def _get_channel(builder: GraphBuilder, value: Value, index: Any, name: str) -> Value:
    # Keras loads a tuple from a file as a list.
    is_channel = isinstance(index, tuple | list) and len(index) == 2 and index[0] is Ellipsis
    require(is_channel and isinstance(index[1], int), f"{name}: index {index} of a tensor")
    value = builder.apply_padding(value)
    return Value(
        builder.add_node("Gather", value.name, index[1], axis=1 if value.is_nchw else len(value.shape) - 1), ()
    )


def _stack(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    is_last = operation.axis == -1 and len(inputs[0].shape) == 3
    require(is_last, f"{operation.name}: stack along axis {operation.axis}")
    axis = builder.add_constant([1])
    parts = [builder.add_node("Unsqueeze", value.name, axis) for value in inputs]
    return Value(builder.add_node("Concat", *parts, axis=1), (), is_nchw=True)


def _concatenate(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    rank = len(inputs[0].shape)
    axis = layer.axis % rank
    first, *others = [builder.to_nchw(value) for value in inputs]
    names = [value.name for value in others]
    return builder.apply("Concat", first, *names, axis=NHWC_TO_NCHW.index(axis) if rank == 4 else axis)


def _dense(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nhwc(inputs[0])
    kernel, *bias = arrays(layer.kernel, layer.bias)
    if len(value.shape) == 2:
        value = builder.apply("Gemm", value, kernel, *bias)
    else:
        value = builder.apply("MatMul", value, kernel)
        value = builder.apply("Add", value, *bias) if bias else value
    return activation(builder, layer, [value])


def _batch_normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nchw(inputs[0])
    require(layer.axis in (-1, len(value.shape) - 1), f"{layer.name}: batch normalization of axis {layer.axis}")
    mean, variance = arrays(layer.moving_mean, layer.moving_variance)
    scale = to_array(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = to_array(layer.beta) if layer.center else np.zeros_like(mean)
    return builder.apply("BatchNormalization", value, scale, shift, mean, variance, epsilon=layer.epsilon)


def _layer_normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.to_nhwc(inputs[0])
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    is_supported = axes in ([-1], [len(value.shape) - 1]) and not layer.rms_scaling
    require(is_supported, f"{layer.name}: layer normalization of axes {axes}")
    scale = to_array(layer.gamma) if layer.scale else np.ones(value.shape[-1] or 0, np.float32)
    return builder.apply("LayerNormalization", value, scale, *arrays(layer.beta), axis=-1, epsilon=layer.epsilon)


def _normalization(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    require(not layer.invert, f"{layer.name}: inverted normalization")
    value = builder.apply_constant("Sub", inputs[0], layer.mean)
    deviation = np.maximum(np.sqrt(to_array(layer.variance)), keras.config.epsilon())
    return builder.apply_constant("Div", value, deviation)


def _rescaling(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    value = builder.apply_constant("Mul", inputs[0], layer.scale)
    return builder.apply_constant("Add", value, layer.offset) if np.any(layer.offset) else value


def _layer_scale(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return builder.apply_constant("Mul", inputs[0], layer.gamma)


def _custom_scale(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return _elementwise(builder, "Add", [inputs[0], builder.apply_constant("Mul", inputs[1], layer.scale)], ())


def _log(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    return builder.apply("Log", builder.apply_padding(inputs[0]))


def _absolute(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    return builder.apply("Abs", inputs[0])


def _sqrt(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    return builder.apply("Sqrt", builder.apply_padding(inputs[0]))


def _max(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    rank = len(inputs[0].shape)
    is_last = rank in (2, 4) and np.ravel(operation.axis).tolist() in ([-1], [rank - 1])
    require(is_last and operation.keepdims, f"{operation.name}: maximum along axis {operation.axis}")
    value = builder.to_nchw(inputs[0])
    return Value(builder.add_node("ReduceMax", value.name, axes=[1], keepdims=1), (), is_nchw=value.is_nchw)


def _average(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return builder.apply_constant("Div", _elementwise(builder, "Add", inputs, ()), len(inputs))


def _flatten(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    return Value(builder.add_node("Flatten", builder.to_nhwc(inputs[0]).name), ())


def _reshape(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    shape = list(layer.target_shape)
    # A map of one pixel is the same in both layouts, and a convolution follows.
    is_nchw = len(shape) == 3 and shape[:2] == [1, 1]
    target = [shape[2], 1, 1] if is_nchw else shape
    require(-1 not in target, f"{layer.name}: reshape with a free axis")
    return Value(builder.add_node("Reshape", builder.to_nhwc(inputs[0]).name, [0, *target]), (), is_nchw=is_nchw)


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
    "Absolute": _absolute,
    "Activation": activation,
    "Average": _average,
    "AveragePooling2D": partial(convolutions.pooling, kind="AveragePool"),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Concatenate": _concatenate,
    "Conv2D": convolutions.conv,
    "Cropping2D": convolutions.cropping,
    "CustomScaleLayer": _custom_scale,
    "Dense": _dense,
    "DepthwiseConv2D": convolutions.depthwise,
    "Dropout": _identity,
    "ELU": elu,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": partial(convolutions.global_pooling, kind="GlobalAveragePool"),
    "GlobalMaxPooling2D": partial(convolutions.global_pooling, kind="GlobalMaxPool"),
    "Identity": _identity,
    "LayerNormalization": _layer_normalization,
    "LayerScale": _layer_scale,
    "LeakyReLU": leaky_relu,
    "Log": _log,
    "Max": _max,
    "MaxPooling2D": partial(convolutions.pooling, kind="MaxPool"),
    "Normalization": _normalization,
    "PReLU": prelu,
    "RGBToGrayscale": convolutions.grayscale,
    "ReLU": relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": convolutions.separable,
    "Softmax": softmax,
    "Sqrt": _sqrt,
    "Stack": _stack,
    "StochasticDepth": _identity,
    "ZeroPadding2D": convolutions.zero_padding,
}

KINDS = (*_LAYERS, *_ELEMENTWISE, "GetItem")
"""Names of the classes of all supported operations."""
