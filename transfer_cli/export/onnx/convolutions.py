"""What slides a window over a map, or changes its margins, as nodes of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.export.onnx.activations import activated
from transfer_cli.export.onnx.graph_builder import Drawing, UnknownOperationError, Value, array_of, like


def _around(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis that TensorFlow calls "same"."""
    needed = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return needed // 2, needed - needed // 2


def _pads(layer: Any, value: Value, window: Sequence[int], strides: Sequence[int]) -> list[int]:
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if layer.padding != "same" or None in value.shape[1:3]:
        raise UnknownOperationError(f"{layer.name} pads {layer.padding!r} a map of shape {value.shape}")
    (top, bottom), (left, right) = (
        _around(size or 0, length, stride)
        for size, length, stride in zip(value.shape[1:3], window, strides, strict=True)
    )
    return [top, left, bottom, right]


def _convolved(
    drawing: Drawing, layer: Any, value: Value, kernel: NDArray[np.float32], bias: Any, *, groups: int
) -> Value:
    """Add a convolution with a kernel of shape (out, in of a group, height, width)."""
    dilation = layer.dilation_rate
    window = [(length - 1) * step + 1 for length, step in zip(kernel.shape[2:], dilation, strict=True)]
    if layer.padding == "valid":
        pads = list(value.margins)
        value = drawing.turned(Value(value.name, value.shape, value.turned))
    else:
        value = drawing.turned(value)
        pads = _pads(layer, value, window, layer.strides)
    weights = [drawing.constant(kernel)] + ([] if bias is None else [drawing.constant(array_of(bias))])
    name = drawing.node(
        "Conv",
        value.name,
        *weights,
        group=groups,
        kernel_shape=kernel.shape[2:],
        strides=layer.strides,
        dilations=dilation,
        pads=pads,
    )
    return Value(name, (None,) * 4, turned=True)


def conv(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Add a convolution."""
    kernel = array_of(layer.kernel).transpose(3, 2, 0, 1)
    bias = layer.bias if layer.use_bias else None
    value = _convolved(drawing, layer, inputs[0], kernel, bias, groups=layer.groups)
    return activated(drawing, layer, [value])


def depthwise(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Add a convolution of each channel by itself."""
    bias = layer.bias if layer.use_bias else None
    kernel = _by_channel(array_of(layer.kernel))
    value = _convolved(drawing, layer, inputs[0], kernel, bias, groups=layer.kernel.shape[2])
    return activated(drawing, layer, [value])


def separable(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Add a convolution of each channel by itself, then one that mixes them."""
    kernel = _by_channel(array_of(layer.depthwise_kernel))
    value = _convolved(drawing, layer, inputs[0], kernel, None, groups=layer.depthwise_kernel.shape[2])
    point = [drawing.constant(array_of(layer.pointwise_kernel).transpose(3, 2, 0, 1))]
    point += [drawing.constant(array_of(layer.bias))] if layer.use_bias else []
    return activated(drawing, layer, [Value(drawing.node("Conv", value.name, *point), value.shape, turned=True)])


def _by_channel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a kernel of shape (height, width, in, multiplier) as that of a convolution in as many groups."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def grey(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    """Add what makes one channel of three."""
    # The weights of ITU-R BT.601 as TensorFlow has them.
    kernel = np.array([0.2989, 0.587, 0.114]).reshape(1, 3, 1, 1)
    name = drawing.node("Conv", drawing.turned(inputs[0]).name, drawing.constant(kernel))
    return Value(name, (None,) * 4, turned=True)


def pooled(kind: str) -> Callable[[Drawing, Any, list[Value]], Value]:
    """Return what adds a pooling of some kind."""

    def draw_pool(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
        value = drawing.turned(inputs[0])
        pads = _pads(layer, value, layer.pool_size, layer.strides)
        # What is around a map counts neither for its largest value nor for its mean, as in TensorFlow.
        name = drawing.node(kind, value.name, kernel_shape=layer.pool_size, strides=layer.strides, pads=pads)
        return like(value, name)

    return draw_pool


def pooled_whole(kind: str) -> Callable[[Drawing, Any, list[Value]], Value]:
    """Return what adds a pooling of whole maps."""

    def draw_pool(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
        name = drawing.node(kind, drawing.turned(inputs[0]).name)
        return Value(name if layer.keepdims else drawing.node("Flatten", name), (), turned=layer.keepdims)

    return draw_pool


def padded(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Put zeros around a map."""
    value = drawing.plain(inputs[0])
    (top, bottom), (left, right) = layer.padding
    return Value(value.name, value.shape, value.turned, (top, left, bottom, right))


def cropped(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    """Cut the margins of a map off."""
    value = drawing.turned(inputs[0])
    (top, bottom), (left, right) = layer.cropping
    ends = [(value.shape[1] or 0) - bottom, (value.shape[2] or 0) - right]
    words = [drawing.constant(numbers, np.int64) for numbers in ([top, left], ends, [2, 3])]
    return like(value, drawing.node("Slice", value.name, *words))
