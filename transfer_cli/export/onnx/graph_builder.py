"""Build an ONNX graph from nodes, constants and values that know their layout.

ONNX stores feature maps as (n, channels, height, width), Keras as (n, height, width, channels). The image is transposed
once, as bytes, and its maps stay NCHW through convolutions, pooling and elementwise operations. Operations along the
channels (dense layers, layer normalization) transpose them back, and they stay NHWC until the next convolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

NO_PADDING = (0, 0, 0, 0)
NHWC_TO_NCHW = (0, 3, 1, 2)
_NCHW_TO_NHWC = (0, 2, 3, 1)
_ALMOST_ZERO = np.float32(1e-30)
"""Value of zero padding. ONNX Runtime 1.31 merges padding by 0 into a following pooling, which ignores its own padding:
where all of a window is negative, its maximum is then not 0, and the outputs of ResNet50V2 change by 0.1."""


class UnsupportedOperationError(Exception):
    """An operation that the writer does not support, or not with these arguments; the message names it."""


def require(condition: bool, operation: str) -> None:
    """Raise UnsupportedOperationError, which names an operation, unless the condition of its support holds."""
    if not condition:
        raise UnsupportedOperationError(operation)


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
    padding: tuple[int, int, int, int] = NO_PADDING


class GraphBuilder:
    """The nodes and constants of a growing graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._converted: dict[tuple[str, str], Value] = {}

    def add_node(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Add a node with one output and return that output's name; an input is a name, or a constant."""
        names = [each if isinstance(each, str) else self.add_constant(each) for each in inputs]
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def add_constant(self, array: Any) -> str:
        """Add an array, or a number, as a constant of its own data type; return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def apply(self, kind: str, value: Value, *others: Any, **attributes: Any) -> Value:
        """Add a node that does not change the shape and layout of `value`; return its output."""
        return Value(self.add_node(kind, value.name, *others, **attributes), value.shape, value.is_nchw)

    def apply_constant(self, kind: str, value: Value, constant: Any, *, swapped: bool = False) -> Value:
        """Add an operation of a tensor and a constant, which is a scalar or has one number per channel."""
        value = self.apply_padding(value)
        array = to_array(constant)
        require(
            array.size == 1 or array.size == array.shape[-1] == value.shape[-1],
            f"{kind} of a constant of shape {array.shape} and maps of shape {value.shape}",
        )
        array = array.reshape(() if array.size == 1 else (-1, 1, 1) if value.is_nchw else (-1,))
        inputs = (array, value.name) if swapped else (value.name, array)
        return Value(self.add_node(kind, *inputs), value.shape, value.is_nchw)

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
            source = self._transpose(replace(value, padding=NO_PADDING), is_nchw=True)
            top, left, bottom, right = value.padding
            self._converted[key] = self.apply("Pad", source, [0, 0, top, left, 0, 0, bottom, right], _ALMOST_ZERO)
        return self._converted[key]

    def _transpose(self, value: Value, *, is_nchw: bool) -> Value:
        if len(value.shape) != 4 or value.is_nchw == is_nchw:
            return value
        key = (value.name, f"nchw {is_nchw}")
        if key not in self._converted:
            name = self.add_node("Transpose", value.name, perm=NHWC_TO_NCHW if is_nchw else _NCHW_TO_NHWC)
            self._converted[key] = Value(name, value.shape, is_nchw)
        return self._converted[key]


def to_array(variable: Any) -> NDArray[np.float32]:
    """Return a variable, a tensor or a number of Keras as an array."""
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def arrays(*variables: Any) -> list[NDArray[np.float32]]:
    """Return the variables that a layer has as arrays; those that it does not have are None."""
    return [to_array(variable) for variable in variables if variable is not None]
