"""What an ONNX graph is drawn with: values that know how they are laid out, nodes and constants.

ONNX lays maps out as (n, channels, height, width), Keras as (n, height, width, channels). The picture is turned once,
as bytes, and its maps stay turned through convolutions, pooling and everything that works number by number; what
works along the channels (dense layers, layer normalisation) turns them back, and they stay so until the next
convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

TURNED = (0, 3, 1, 2)
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
            name = self.node("Transpose", value.name, perm=TURNED if turned else _BACK)
            self._made[key] = Value(name, value.shape, turned)
        return self._made[key]


def like(value: Value, name: str) -> Value:
    """Return the value of a node that leaves shape and layout as they were."""
    return Value(name, value.shape, value.turned)


def array_of(variable: Any) -> NDArray[np.float32]:
    """Return a variable, a tensor or a number of Keras as an array."""
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def with_constant(drawing: Drawing, kind: str, value: Value, constant: Any, *, swapped: bool = False) -> Value:
    """Add a node of a tensor and a constant that is a number or has one number a channel."""
    value = drawing.plain(value)
    array = array_of(constant)
    if array.size == 1:
        array = array.reshape(())
    elif array.size == array.shape[-1] == value.shape[-1]:
        array = array.reshape((-1, 1, 1) if value.turned else (-1,))
    else:
        raise UnknownOperationError(f"a constant of shape {array.shape} meets maps of shape {value.shape}")
    names = [value.name, drawing.constant(array)]
    return like(value, drawing.node(kind, *(reversed(names) if swapped else names)))
