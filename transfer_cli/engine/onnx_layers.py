"""Each operation of a Keras network as nodes of an ONNX graph: a row of a table for each kind.

ONNX lays maps out as (n, channels, height, width), Keras as (n, height, width, channels). The picture is turned once,
as bytes, and its maps stay turned through convolutions, pooling and everything that works number by number; what
works along the channels (dense layers, layer normalisation) turns them back, and they stay so until the next
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_TURNED = (0, 3, 1, 2)
"""Where each axis of a turned map comes from."""
_BACK = (0, 2, 3, 1)
_ALMOST_ZERO = 1e-30
"""What maps are surrounded with. ONNX Runtime 1.31 takes a margin of 0 around a pooling for the pooling's own, which
does not count: where all of a window is negative its largest number is then not the 0, and ResNet50V2 is off by 0.1."""


class UnknownOperationError(Exception):
    """An operation, or a way to use it, that no row knows; the message says which."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Attributes
    ----------
    name : str
    shape : tuple of int or None
        As Keras has it, channels last.
    turned : bool
        Whether it is laid out with its channels first.
    margins : tuple of int
        Zeros around it (top, left, bottom, right) that are no nodes yet: a convolution brings its own.
    """

    name: str
    shape: tuple[int | None, ...]
    turned: bool = False
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)


class Drawing:
    """The nodes and constants of a graph, as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._made: dict[tuple[str, str], Value] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def turned(self, value: Value) -> Value:
        """Return a map with its channels first."""
        return self._laid_out(self.plain(value), turned=True)

    def straight(self, value: Value) -> Value:
        """Return a map as Keras has it."""
        return self._laid_out(self.plain(value), turned=False)

    def plain(self, value: Value) -> Value:
        """Return a map whose margins are there."""
        if not any(value.margins):
            return value
        key = (value.name, f"margins {value.margins}")
        if key not in self._made:
            turned = self._laid_out(Value(value.name, value.shape, value.turned), turned=True)
            top, left, bottom, right = value.margins
            widths = self.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
            name = self.node("Pad", turned.name, widths, self.constant(_ALMOST_ZERO))
            self._made[key] = Value(name, value.shape, turned=True)
        return self._made[key]

    def _laid_out(self, value: Value, *, turned: bool) -> Value:
        if len(value.shape) != 4 or value.turned == turned:
            return value
        key = (value.name, f"turned {turned}")
        if key not in self._made:
            name = self.node("Transpose", value.name, perm=_TURNED if turned else _BACK)
            self._made[key] = Value(name, value.shape, turned)
        return self._made[key]


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
    return _like(value, drawing.node("Cast", value.name, to=onnx.TensorProto.FLOAT))


def _like(value: Value, name: str) -> Value:
    return Value(name, value.shape, value.turned)


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _with_constant(drawing: Drawing, kind: str, value: Value, constant: Any, *, swapped: bool = False) -> Value:
    """Add a node of a tensor and a constant that is a number or has one number a channel."""
    value = drawing.plain(value)
    array = _array(constant)
    if array.size == 1:
        array = array.reshape(())
    elif array.size == array.shape[-1] == value.shape[-1]:
        array = array.reshape((-1, 1, 1) if value.turned else (-1,))
    else:
        raise UnknownOperationError(f"a constant of shape {array.shape} meets maps of shape {value.shape}")
    names = [value.name, drawing.constant(array)]
    return _like(value, drawing.node(kind, *(reversed(names) if swapped else names)))


def _number_by_number(drawing: Drawing, kind: str, inputs: list[Value], arguments: Sequence[Any]) -> Value:
    if len(inputs) == 1 and len(arguments) == 2:
        first, second = arguments
        swapped = isinstance(second, keras.KerasTensor)
        return _with_constant(drawing, kind, inputs[0], first if swapped else second, swapped=swapped)
    ranks = {len(value.shape) for value in inputs}
    if len(ranks) != 1:
        raise UnknownOperationError(f"{kind} of tensors of {ranks} axes")
    straight = not any(value.turned or any(value.margins) for value in inputs)
    laid_out = [drawing.straight(value) if straight else drawing.turned(value) for value in inputs]
    name = laid_out[0].name
    for other in laid_out[1:]:
        name = drawing.node(kind, name, other.name)
    return _like(laid_out[0], name)


def _channel(drawing: Drawing, value: Value, which: Any, name: str) -> Value:
    if not (isinstance(which, tuple) and len(which) == 2 and which[0] is Ellipsis and isinstance(which[1], int)):
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
    place = _TURNED.index(axis) if rank == 4 else axis
    return _like(laid_out[0], drawing.node("Concat", *(value.name for value in laid_out), axis=place))


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
    weights = [drawing.constant(kernel)] + ([] if bias is None else [drawing.constant(_array(bias))])
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


def _conv(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    kernel = _array(layer.kernel).transpose(3, 2, 0, 1)
    bias = layer.bias if layer.use_bias else None
    value = _convolved(drawing, layer, inputs[0], kernel, bias, groups=layer.groups)
    return _activated(drawing, layer, [value])


def _depthwise(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    bias = layer.bias if layer.use_bias else None
    kernel = _by_channel(_array(layer.kernel))
    value = _convolved(drawing, layer, inputs[0], kernel, bias, groups=layer.kernel.shape[2])
    return _activated(drawing, layer, [value])


def _separable(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    kernel = _by_channel(_array(layer.depthwise_kernel))
    value = _convolved(drawing, layer, inputs[0], kernel, None, groups=layer.depthwise_kernel.shape[2])
    point = [drawing.constant(_array(layer.pointwise_kernel).transpose(3, 2, 0, 1))]
    point += [drawing.constant(_array(layer.bias))] if layer.use_bias else []
    return _activated(drawing, layer, [Value(drawing.node("Conv", value.name, *point), value.shape, turned=True)])


def _by_channel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a kernel of shape (height, width, in, multiplier) as that of a convolution in as many groups."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _grey(drawing: Drawing, operation: Any, inputs: list[Value]) -> Value:
    # The weights of ITU-R BT.601 as TensorFlow has them.
    kernel = np.array([0.2989, 0.587, 0.114]).reshape(1, 3, 1, 1)
    name = drawing.node("Conv", drawing.turned(inputs[0]).name, drawing.constant(kernel))
    return Value(name, (None,) * 4, turned=True)


def _dense(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.straight(inputs[0])
    kernel = drawing.constant(_array(layer.kernel))
    bias = [drawing.constant(_array(layer.bias))] if layer.use_bias else []
    if len(value.shape) == 2:
        name = drawing.node("Gemm", value.name, kernel, *bias)
    else:
        name = drawing.node("MatMul", value.name, kernel)
        name = drawing.node("Add", name, *bias) if bias else name
    return _activated(drawing, layer, [_like(value, name)])


def _batch_normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.turned(inputs[0])
    if layer.axis not in (-1, len(value.shape) - 1):
        raise UnknownOperationError(f"{layer.name} normalises axis {layer.axis}")
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    scale = _array(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = _array(layer.beta) if layer.center else np.zeros_like(mean)
    names = [drawing.constant(array) for array in (scale, shift, mean, variance)]
    return _like(value, drawing.node("BatchNormalization", value.name, *names, epsilon=layer.epsilon))


def _layer_normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.straight(inputs[0])
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [len(value.shape) - 1]) or layer.rms_scaling:
        raise UnknownOperationError(f"{layer.name} normalises axes {axes}")
    width = value.shape[-1]
    scale = _array(layer.gamma) if layer.scale else np.ones(width or 0)
    names = [drawing.constant(scale)] + ([drawing.constant(_array(layer.beta))] if layer.center else [])
    name = drawing.node("LayerNormalization", value.name, *names, axis=-1, epsilon=layer.epsilon)
    return _like(value, name)


def _normalised(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    if layer.invert:
        raise UnknownOperationError(f"{layer.name} inverts a normalisation")
    value = _with_constant(drawing, "Sub", inputs[0], layer.mean)
    deviation = np.maximum(np.sqrt(_array(layer.variance)), keras.config.epsilon())
    return _with_constant(drawing, "Div", value, deviation)


def _rescaled(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = _with_constant(drawing, "Mul", inputs[0], layer.scale)
    return _with_constant(drawing, "Add", value, layer.offset) if np.any(layer.offset) else value


def _scaled(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return _with_constant(drawing, "Mul", inputs[0], layer.gamma)


def _added_in_part(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    return _number_by_number(drawing, "Add", [inputs[0], _with_constant(drawing, "Mul", inputs[1], layer.scale)], ())


def _pooled(kind: str) -> Callable[[Drawing, Any, list[Value]], Value]:
    def draw_pool(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
        value = drawing.turned(inputs[0])
        pads = _pads(layer, value, layer.pool_size, layer.strides)
        # What is around a map counts neither for its largest value nor for its mean, as in TensorFlow.
        name = drawing.node(kind, value.name, kernel_shape=layer.pool_size, strides=layer.strides, pads=pads)
        return _like(value, name)

    return draw_pool


def _pooled_whole(kind: str) -> Callable[[Drawing, Any, list[Value]], Value]:
    def draw_pool(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
        name = drawing.node(kind, drawing.turned(inputs[0]).name)
        return Value(name if layer.keepdims else drawing.node("Flatten", name), (), turned=layer.keepdims)

    return draw_pool


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


def _padded(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.plain(inputs[0])
    (top, bottom), (left, right) = layer.padding
    return Value(value.name, value.shape, value.turned, (top, left, bottom, right))


def _cropped(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.turned(inputs[0])
    (top, bottom), (left, right) = layer.cropping
    ends = [(value.shape[1] or 0) - bottom, (value.shape[2] or 0) - right]
    words = [drawing.constant(numbers, np.int64) for numbers in ([top, left], ends, [2, 3])]
    return _like(value, drawing.node("Slice", value.name, *words))


def _rectified(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    value = drawing.plain(inputs[0])
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise UnknownOperationError(f"{layer.name} is a ReLU with a threshold or a slope and a bound")
    if layer.negative_slope:
        return _like(value, drawing.node("LeakyRelu", value.name, alpha=float(layer.negative_slope)))
    return _clipped(drawing, value, layer.max_value)


def _clipped(drawing: Drawing, value: Value, most: float | None) -> Value:
    if most is None:
        return _like(value, drawing.node("Relu", value.name))
    return _like(value, drawing.node("Clip", value.name, drawing.constant(0.0), drawing.constant(most)))


def _activated(drawing: Drawing, layer: Any, inputs: list[Value]) -> Value:
    name = layer.activation.__name__
    value = drawing.plain(inputs[0])
    if name == "linear":
        return value
    if name == "relu6":
        return _clipped(drawing, value, 6.0)
    if name == "silu":
        return _like(value, drawing.node("Mul", value.name, drawing.node("Sigmoid", value.name)))
    if name == "gelu":
        inner = _with_constant(drawing, "Div", value, math.sqrt(2.0))
        share = _with_constant(drawing, "Add", _like(value, drawing.node("Erf", inner.name)), 1.0)
        product = _like(value, drawing.node("Mul", value.name, share.name))
        return _with_constant(drawing, "Mul", product, 0.5)
    if name == "softmax":
        value = drawing.straight(value)
        return _like(value, drawing.node("Softmax", value.name, axis=-1))
    if name not in _ACTIVATIONS:
        raise UnknownOperationError(f"{layer.name} has the activation {name}")
    kind, attributes = _ACTIVATIONS[name]
    return _like(value, drawing.node(kind, value.name, **attributes))


_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
}
_NUMBER_BY_NUMBER = {
    "Add": "Add",
    "Divide": "Div",
    "Multiply": "Mul",
    "Subtract": "Sub",
    "TrueDivide": "Div",
}
_LAYERS: dict[str, Callable[[Drawing, Any, list[Value]], Value]] = {
    "Activation": _activated,
    "AveragePooling2D": _pooled("AveragePool"),
    "BatchNormalization": _batch_normalised,
    "Cast": _cast,
    "Concatenate": _concatenated,
    "Conv2D": _conv,
    "Cropping2D": _cropped,
    "CustomScaleLayer": _added_in_part,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": _flattened,
    "GlobalAveragePooling2D": _pooled_whole("GlobalAveragePool"),
    "GlobalMaxPooling2D": _pooled_whole("GlobalMaxPool"),
    "LayerNormalization": _layer_normalised,
    "LayerScale": _scaled,
    "MaxPooling2D": _pooled("MaxPool"),
    "Normalization": _normalised,
    "RGBToGrayscale": _grey,
    "ReLU": _rectified,
    "Rescaling": _rescaled,
    "Reshape": _reshaped,
    "SeparableConv2D": _separable,
    "Stack": _stacked,
    "StochasticDepth": _same,
    "ZeroPadding2D": _padded,
}

KINDS = (*_LAYERS, *_NUMBER_BY_NUMBER, "GetItem")
"""Every kind of operation that can be drawn, by the name of its class."""
