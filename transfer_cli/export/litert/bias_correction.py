"""The biases of a quantised LiteRT graph, moved until each layer gives on average what it gave in float32.

Rounded weights and activations shift the mean of every channel, and the shifts of all layers add up. They are taken
out layer by layer from the pictures on, each measured with those before it corrected: the empirical bias correction of
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", appendix D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray

from transfer_cli.system import processors

FEW = 4
"""Pictures that are run at a time."""
_FEWEST_ACTIVE = 0.25
"""Where an activation cuts off most of a channel, its bias is moved by the error times the inverse of this at most."""
_BUILTIN = schema.BuiltinOperator
_WITH_BIAS = (_BUILTIN.CONV_2D, _BUILTIN.DEPTHWISE_CONV_2D, _BUILTIN.FULLY_CONNECTED)
_BIAS = 2
_CUT_OFF = {
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
"""Between which bounds an activation that is part of a layer lets pass what it gets."""

Images = NDArray[np.uint8]


def corrected(original: bytes, quantized: bytes, images: Images) -> bytes:
    """Return a quantised graph with corrected biases.

    Parameters
    ----------
    original : bytes
        The graph in float32; tensors of the same name are compared.
    quantized : bytes
    images : ndarray of shape (n, size, size, 3), uint8
        A few dozen suffice: most layers see thousands of places in each.
    """
    means = {layer.name: layer.mean for layer in _Walk(convert_bytearray_to_object(bytearray(original)), images)}
    model = convert_bytearray_to_object(bytearray(quantized))
    for layer in _Walk(model, images):
        if layer.name in means:
            layer.move(means[layer.name])
    return bytes(convert_object_to_bytearray(model))


def operations(model: Any) -> list[tuple[int, Any]]:
    """Return the operations of a graph in their order, each with its number among LiteRT's own."""
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [(codes[operation.opcodeIndex], operation) for operation in model.subgraphs[0].operators]


class _Walk:
    """A graph run on some pictures, from each layer with a bias to the next, so that it may be changed on the way."""

    def __init__(self, model: Any, images: Images) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self._reach = {int(tensor): len(self.graph.operators) for tensor in self.graph.outputs}
        for place, operation in enumerate(self.graph.operators):
            for tensor in operation.inputs:
                self._reach[int(tensor)] = max(place, self._reach.get(int(tensor), 0))
        given = int(self.graph.inputs[0])
        self.micro_batches: list[dict[int, NDArray[Any]]] = [
            {given: images[start : start + FEW]} for start in range(0, len(images), FEW)
        ]
        """What has been computed and is still needed, by the number of its tensor."""

    def __iter__(self) -> Iterator[_Layer]:
        stretch: list[Any] = []
        for place, (kind, operation) in enumerate(operations(self.model)):
            stretch.append(operation)
            if kind not in _WITH_BIAS or len(operation.inputs) <= _BIAS or operation.inputs[_BIAS] < 0:
                continue
            layer = _Layer(self, stretch, self._needed(stretch, place))
            yield layer
            for portion, result in zip(self.micro_batches, layer.results, strict=True):
                portion.update(result)
                for tensor in [tensor for tensor in portion if self._reach.get(tensor, -1) <= place]:
                    del portion[tensor]
            stretch = []

    def _needed(self, stretch: list[Any], place: int) -> list[int]:
        """Return what a stretch computes that is needed after it, and its last result."""
        made = [int(tensor) for operation in stretch for tensor in operation.outputs]
        last = int(stretch[-1].outputs[0])
        return [tensor for tensor in made if tensor == last or self._reach.get(tensor, -1) > place]


class _Layer:
    """A layer with a bias at the end of a stretch of the graph, and what it gives for the pictures."""

    def __init__(self, walk: _Walk, stretch: list[Any], wanted: list[int]) -> None:
        self._walk, self._stretch, self._wanted = walk, stretch, wanted
        self._operation = stretch[-1]
        self._output = int(self._operation.outputs[0])
        self.results: list[dict[int, NDArray[Any]]] = []
        self._run()

    @property
    def name(self) -> bytes:
        """Of the tensor that it gives."""
        return bytes(self._tensor(self._output).name)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel over all places of all pictures."""
        return self._mean

    def move(self, mean: NDArray[np.float64]) -> None:
        """Move the bias so that the mean of each channel becomes `mean`, and run the layer once more."""
        off = (mean - self._mean) / np.maximum(self._active, _FEWEST_ACTIVE)
        given, weights, bias = (self._tensor(int(tensor)) for tensor in self._operation.inputs[: _BIAS + 1])
        buffer = self._own_buffer(bias)
        old = np.asarray(buffer.data, np.uint8).tobytes()
        if bias.type == schema.TensorType.INT32:
            step = given.quantization.scale[0] * np.asarray(weights.quantization.scale, np.float64)
            moved = np.frombuffer(old, np.int32) + np.round(off / step)
            new = np.clip(moved, np.iinfo(np.int32).min, np.iinfo(np.int32).max).astype(np.int32).tobytes()
        elif bias.type == schema.TensorType.FLOAT32:
            new = (np.frombuffer(old, np.float32) + off).astype(np.float32).tobytes()
        else:
            return
        buffer.data = np.frombuffer(new, np.uint8)
        self._run()

    def _tensor(self, number: int) -> Any:
        return self._walk.graph.tensors[number]

    def _own_buffer(self, tensor: Any) -> Any:
        """Return the buffer of a bias; one that tensors share becomes one of its own first."""
        buffers = self._walk.model.buffers
        if sum(other.buffer == tensor.buffer for other in self._walk.graph.tensors) > 1:
            own = schema.BufferT()
            own.data = buffers[tensor.buffer].data
            buffers.append(own)
            tensor.buffer = len(buffers) - 1
        return buffers[tensor.buffer]

    def _run(self) -> None:
        given = [tensor for tensor in self._walk.micro_batches[0] if self._reads(tensor)]
        interpreter = Interpreter(
            model_content=_alone(self._walk.model, self._stretch, given, self._wanted), num_threads=processors()
        )
        inputs = [detail["index"] for detail in interpreter.get_input_details()]
        outputs = [detail["index"] for detail in interpreter.get_output_details()]
        self.results, shapes = [], None
        sums = _Sums(self._tensor(self._output), self._operation)
        for portion in self._walk.micro_batches:
            values = [portion[tensor] for tensor in given]
            if shapes != (shapes := [value.shape for value in values]):
                for index, shape in zip(inputs, shapes, strict=True):
                    interpreter.resize_tensor_input(index, shape)
                interpreter.allocate_tensors()
            for index, value in zip(inputs, values, strict=True):
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            result = {tensor: interpreter.get_tensor(i) for tensor, i in zip(self._wanted, outputs, strict=True)}
            self.results.append(result)
            sums.add(result[self._output])
        self._mean: NDArray[np.float64] = sums.total / sums.count
        self._active: NDArray[np.float64] = sums.active / sums.count

    def _reads(self, tensor: int) -> bool:
        return any(tensor in operation.inputs for operation in self._stretch)


class _Sums:
    """Sums over the places of all pictures, one a channel."""

    def __init__(self, tensor: Any, operation: Any) -> None:
        self._quantization = tensor.quantization
        activation = operation.builtinOptions.fusedActivationFunction
        self._low, self._high = _CUT_OFF.get(activation, (-np.inf, np.inf))
        self.total: Any = 0.0
        self.active: Any = 0.0
        self.count = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add what a layer gave for some pictures; the last axis is that of the channels."""
        rows = values.reshape(-1, values.shape[-1]).astype(np.float32)
        step = 0.0
        if values.dtype != np.float32:
            step = float(self._quantization.scale[0])
            rows = (rows - self._quantization.zeroPoint[0]) * step
        self.total = self.total + rows.sum(axis=0, dtype=np.float64)
        inside = (rows > self._low + step / 2) & (rows < self._high - step / 2)
        self.active = self.active + inside.sum(axis=0)
        self.count += len(rows)


@dataclass
class _Numbers:
    """New numbers for what is taken over from a list, in the order in which it is asked for."""

    taken: dict[int, int]

    def of(self, old: int) -> int:
        return -1 if old < 0 else self.taken.setdefault(old, len(self.taken))


def _alone(model: Any, stretch: list[Any], inputs: list[int], outputs: list[int]) -> bytes:
    """Return a graph of some operations alone, with no more than the tensors and weights that they need."""
    tensors, buffers = _Numbers({}), _Numbers({0: 0})
    operators = []
    for operation in stretch:
        copy = schema.OperatorT()
        copy.__dict__.update(operation.__dict__)
        copy.inputs = np.array([tensors.of(int(tensor)) for tensor in operation.inputs], np.int32)
        copy.outputs = np.array([tensors.of(int(tensor)) for tensor in operation.outputs], np.int32)
        operators.append(copy)
    graph = schema.SubGraphT()
    graph.operators = operators
    graph.inputs = np.array([tensors.of(tensor) for tensor in inputs], np.int32)
    graph.outputs = np.array([tensors.of(tensor) for tensor in outputs], np.int32)
    graph.tensors = []
    for number in tensors.taken:
        tensor = schema.TensorT()
        tensor.__dict__.update(model.subgraphs[0].tensors[number].__dict__)
        tensor.buffer = buffers.of(tensor.buffer)
        graph.tensors.append(tensor)
    small = schema.ModelT()
    small.version, small.operatorCodes, small.subgraphs = model.version, model.operatorCodes, [graph]
    small.buffers = [model.buffers[number] for number in buffers.taken]
    return bytes(convert_object_to_bytearray(small))
