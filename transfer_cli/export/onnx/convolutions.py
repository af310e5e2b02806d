"""Convolutions, pooling, padding and cropping as nodes of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.export.onnx.activations import activation
from transfer_cli.export.onnx.graph_builder import GraphBuilder, UnsupportedOperationError, Value, same_layout, to_array


def _same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis for TensorFlow's "same"."""
    needed = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return needed // 2, needed - needed // 2


def _pads(layer: Any, value: Value, window: Sequence[int], strides: Sequence[int]) -> list[int]:
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if layer.padding != "same" or None in value.shape[1:3]:
        raise UnsupportedOperationError(f"{layer.name}: padding {layer.padding!r} of maps of shape {value.shape}")
    (top, bottom), (left, right) = (
        _same_padding(size or 0, length, stride)
        for size, length, stride in zip(value.shape[1:3], window, strides, strict=True)
    )
    return [top, left, bottom, right]


def _convolution(
    builder: GraphBuilder, layer: Any, value: Value, kernel: NDArray[np.float32], bias: Any, *, groups: int
) -> Value:
    """Add a convolution with a kernel of shape (out_channels, in_channels / groups, height, width)."""
    dilation = layer.dilation_rate
    window = [(length - 1) * step + 1 for length, step in zip(kernel.shape[2:], dilation, strict=True)]
    if layer.padding == "valid":
        pads = list(value.padding)
        value = builder.to_nchw(Value(value.name, value.shape, value.is_nchw))
    else:
        value = builder.to_nchw(value)
        pads = _pads(layer, value, window, layer.strides)
    weights = [builder.add_constant(kernel)] + ([] if bias is None else [builder.add_constant(to_array(bias))])
    name = builder.add_node(
        "Conv",
        value.name,
        *weights,
        group=groups,
        kernel_shape=kernel.shape[2:],
        strides=layer.strides,
        dilations=dilation,
        pads=pads,
    )
    return Value(name, (None,) * 4, is_nchw=True)


def conv(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a convolution."""
    kernel = to_array(layer.kernel).transpose(3, 2, 0, 1)
    bias = layer.bias if layer.use_bias else None
    value = _convolution(builder, layer, inputs[0], kernel, bias, groups=layer.groups)
    return activation(builder, layer, [value])


def depthwise(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a depthwise convolution."""
    bias = layer.bias if layer.use_bias else None
    kernel = _depthwise_kernel(to_array(layer.kernel))
    value = _convolution(builder, layer, inputs[0], kernel, bias, groups=layer.kernel.shape[2])
    return activation(builder, layer, [value])


def separable(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a depthwise convolution and a pointwise one."""
    kernel = _depthwise_kernel(to_array(layer.depthwise_kernel))
    value = _convolution(builder, layer, inputs[0], kernel, None, groups=layer.depthwise_kernel.shape[2])
    pointwise = [builder.add_constant(to_array(layer.pointwise_kernel).transpose(3, 2, 0, 1))]
    pointwise += [builder.add_constant(to_array(layer.bias))] if layer.use_bias else []
    return activation(
        builder, layer, [Value(builder.add_node("Conv", value.name, *pointwise), value.shape, is_nchw=True)]
    )


def _depthwise_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a kernel of shape (height, width, channels, multiplier) as that of a grouped convolution."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def grayscale(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    """Add the conversion from RGB to grayscale."""
    # ITU-R BT.601, rounded as in TensorFlow.
    kernel = np.array([0.2989, 0.587, 0.114]).reshape(1, 3, 1, 1)
    name = builder.add_node("Conv", builder.to_nchw(inputs[0]).name, builder.add_constant(kernel))
    return Value(name, (None,) * 4, is_nchw=True)


def pooling(kind: str) -> Callable[[GraphBuilder, Any, list[Value]], Value]:
    """Return a function that adds a pooling layer."""

    def add_pooling(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
        value = builder.to_nchw(inputs[0])
        pads = _pads(layer, value, layer.pool_size, layer.strides)
        # As in TensorFlow, padding counts neither for the maximum nor for the mean.
        name = builder.add_node(kind, value.name, kernel_shape=layer.pool_size, strides=layer.strides, pads=pads)
        return same_layout(value, name)

    return add_pooling


def global_pooling(kind: str) -> Callable[[GraphBuilder, Any, list[Value]], Value]:
    """Return a function that adds a global pooling layer."""

    def add_pooling(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
        name = builder.add_node(kind, builder.to_nchw(inputs[0]).name)
        return Value(name if layer.keepdims else builder.add_node("Flatten", name), (), is_nchw=layer.keepdims)

    return add_pooling


def zero_padding(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add zero padding, which the next operation applies."""
    value = builder.apply_padding(inputs[0])
    (top, bottom), (left, right) = layer.padding
    return Value(value.name, value.shape, value.is_nchw, (top, left, bottom, right))


def cropping(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a cropping layer."""
    value = builder.to_nchw(inputs[0])
    (top, bottom), (left, right) = layer.cropping
    ends = [(value.shape[1] or 0) - bottom, (value.shape[2] or 0) - right]
    limits = [builder.add_constant(numbers, np.int64) for numbers in ([top, left], ends, [2, 3])]
    return same_layout(value, builder.add_node("Slice", value.name, *limits))
