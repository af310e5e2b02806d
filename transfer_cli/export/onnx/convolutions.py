"""Convolutions, pooling, padding and cropping as nodes of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.export.onnx.activations import activation
from transfer_cli.export.onnx.graph_builder import NO_PADDING, GraphBuilder, Value, arrays, require, to_array


def _pads(layer: Any, value: Value, window: Sequence[int]) -> list[int]:
    if layer.padding == "valid":
        return list(NO_PADDING)
    sizes = [size or 0 for size in value.shape[1:3]]
    is_supported = layer.padding == "same" and all(sizes)
    require(is_supported, f"{layer.name}: padding {layer.padding!r} of maps of shape {value.shape}")
    # The sum of the padding before and after each axis in TensorFlow; if it is odd, there is more after the axis.
    sums = [
        max((math.ceil(size / stride) - 1) * stride + length - size, 0)
        for size, length, stride in zip(sizes, window, layer.strides, strict=True)
    ]
    return [*(each // 2 for each in sums), *(each - each // 2 for each in sums)]


def _convolution(
    builder: GraphBuilder, layer: Any, value: Value, kernel: NDArray[np.float32], bias: Any, *, groups: int
) -> Value:
    """Add a convolution with a kernel of shape (out_channels, in_channels / groups, height, width)."""
    if layer.padding == "valid":
        pads = list(value.padding)
        value = builder.to_nchw(replace(value, padding=NO_PADDING))
    else:
        value = builder.to_nchw(value)
        steps = zip(kernel.shape[2:], layer.dilation_rate, strict=True)
        pads = _pads(layer, value, [(length - 1) * step + 1 for length, step in steps])
    windows = {"kernel_shape": kernel.shape[2:], "strides": layer.strides, "dilations": layer.dilation_rate}
    name = builder.add_node("Conv", value.name, kernel, *arrays(bias), group=groups, pads=pads, **windows)
    return Value(name, (None,) * 4, is_nchw=True)


def conv(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a convolution."""
    kernel = to_array(layer.kernel).transpose(3, 2, 0, 1)
    value = _convolution(builder, layer, inputs[0], kernel, layer.bias, groups=layer.groups)
    return activation(builder, layer, [value])


def depthwise(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a depthwise convolution."""
    return activation(builder, layer, [_by_channel(builder, layer, inputs[0], layer.kernel, layer.bias)])


def separable(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a depthwise convolution and a pointwise one."""
    value = _by_channel(builder, layer, inputs[0], layer.depthwise_kernel, None)
    pointwise = to_array(layer.pointwise_kernel).transpose(3, 2, 0, 1)
    return activation(builder, layer, [builder.apply("Conv", value, pointwise, *arrays(layer.bias))])


def _by_channel(builder: GraphBuilder, layer: Any, value: Value, kernel: Any, bias: Any) -> Value:
    """Add a grouped convolution with a kernel of shape (height, width, channels, multiplier)."""
    height, width, channels, multiplier = kernel.shape
    grouped = to_array(kernel).transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolution(builder, layer, value, grouped, bias, groups=channels)


def grayscale(builder: GraphBuilder, operation: Any, inputs: list[Value]) -> Value:
    """Add the conversion from RGB to grayscale."""
    # ITU-R BT.601, rounded as in TensorFlow.
    kernel = np.array([0.2989, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)
    return Value(builder.add_node("Conv", builder.to_nchw(inputs[0]).name, kernel), (None,) * 4, is_nchw=True)


def pooling(builder: GraphBuilder, layer: Any, inputs: list[Value], *, kind: str) -> Value:
    """Add a pooling layer."""
    value = builder.to_nchw(inputs[0])
    pads = _pads(layer, value, layer.pool_size)
    # As in TensorFlow, padding counts neither for the maximum nor for the mean.
    return builder.apply(kind, value, kernel_shape=layer.pool_size, strides=layer.strides, pads=pads)


def global_pooling(builder: GraphBuilder, layer: Any, inputs: list[Value], *, kind: str) -> Value:
    """Add a global pooling layer."""
    name = builder.add_node(kind, builder.to_nchw(inputs[0]).name)
    return Value(name if layer.keepdims else builder.add_node("Flatten", name), (), is_nchw=layer.keepdims)


def zero_padding(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add zero padding, which the next operation applies."""
    (top, bottom), (left, right) = layer.padding
    return replace(builder.apply_padding(inputs[0]), padding=(top, left, bottom, right))


def cropping(builder: GraphBuilder, layer: Any, inputs: list[Value]) -> Value:
    """Add a cropping layer."""
    value = builder.to_nchw(inputs[0])
    (top, bottom), (left, right) = layer.cropping
    ends = [(value.shape[1] or 0) - bottom, (value.shape[2] or 0) - right]
    return builder.apply("Slice", value, [top, left], ends, [2, 3])
