"""Build an ONNX graph from nodes, constants and values that know their layout.

ONNX stores feature maps as (n, channels, height, width), Keras as (n, height, width, channels). The image is transposed
once, as bytes, and its maps stay NCHW through convolutions, pooling and elementwise operations. Operations along the
channels (dense layers, layer normalization) transpose them back, and they stay NHWC until the next convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

NHWC_TO_NCHW = (0, 3, 1, 2)
_NCHW_TO_NHWC = (0, 2, 3, 1)
_ALMOST_ZERO = 1e-30
"""Value of zero padding. ONNX Runtime 1.31 merges padding by 0 into a following pooling, which ignores its own padding:
where all of a window is negative, its maximum is then not 0, and the outputs of ResNet50V2 change by 0.1."""


class UnsupportedOperationError(Exception):
    """An operation that the writer does not support, or not with these arguments; the message names it."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Attributes
    ----------
    name : str
    shape : tuple of int or None
        In Keras's layout, channels last.
    is_nchw : bool
        Whether the layout in the graph is channels first.
    padding : tuple of int
        Zero padding (top, left, bottom, right) without a node yet: a convolution applies it itself.
    """

    name: str
    shape: tuple[int | None, ...]
    is_nchw: bool = False
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


class GraphBuilder:
    """The nodes and constants of a growing graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._converted: dict[tuple[str, str], Value] = {}

    def add_node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def add_constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def to_nchw(self, value: Value) -> Value:
        """Return a value with its channels first."""
        return self._transpose(self.apply_padding(value), is_nchw=True)

    def to_nhwc(self, value: Value) -> Value:
        """Return a value with its channels last, as in Keras."""
        return self._transpose(self.apply_padding(value), is_nchw=False)

    def apply_padding(self, value: Value) -> Value:
        """Return a value whose padding, if any, is a node of the graph."""
        if not any(value.padding):
            return value
        key = (value.name, f"padding {value.padding}")
        if key not in self._converted:
            source = self._transpose(Value(value.name, value.shape, value.is_nchw), is_nchw=True)
            top, left, bottom, right = value.padding
            widths = self.add_constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
            name = self.add_node("Pad", source.name, widths, self.add_constant(_ALMOST_ZERO))
            self._converted[key] = Value(name, value.shape, is_nchw=True)
        return self._converted[key]

    def _transpose(self, value: Value, *, is_nchw: bool) -> Value:
        if len(value.shape) != 4 or value.is_nchw == is_nchw:
            return value
        key = (value.name, f"nchw {is_nchw}")
        if key not in self._converted:
            name = self.add_node("Transpose", value.name, perm=NHWC_TO_NCHW if is_nchw else _NCHW_TO_NHWC)
            self._converted[key] = Value(name, value.shape, is_nchw)
        return self._converted[key]


def same_layout(value: Value, name: str) -> Value:
    """Return the output `name` of a node that does not change the shape and layout of `value`."""
    return Value(name, value.shape, value.is_nchw)


def to_array(variable: Any) -> NDArray[np.float32]:
    """Return a variable, a tensor or a number of Keras as an array."""
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def with_constant(builder: GraphBuilder, kind: str, value: Value, constant: Any, *, swapped: bool = False) -> Value:
    """Add an operation of a tensor and a constant, which is a scalar or has one number per channel."""
    value = builder.apply_padding(value)
    array = to_array(constant)
    if array.size == 1:
        array = array.reshape(())
    elif array.size == array.shape[-1] == value.shape[-1]:
        array = array.reshape((-1, 1, 1) if value.is_nchw else (-1,))
    else:
        raise UnsupportedOperationError(f"{kind} of a constant of shape {array.shape} and maps of shape {value.shape}")
    names = [value.name, builder.add_constant(array)]
    return same_layout(value, builder.add_node(kind, *(reversed(names) if swapped else names)))
