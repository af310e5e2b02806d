"""Correct the biases of a quantized LiteRT graph until each layer has the mean output that it had in float32.

Rounding weights and activations shifts the mean of every channel, and the shifts of all layers add up. The correction
proceeds layer by layer from the input; the shift of a layer is measured with the layers before it corrected.

References
----------
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", appendix D: empirical bias
correction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray
from numpy.typing import NDArray

from transfer_cli.catalog.runtimes import RUNTIME_BATCH
from transfer_cli.system import cpu_count

_MIN_ACTIVE_SHARE = 0.25
"""A shift is divided by the share of outputs that the activation does not clip, but by no less than this."""
_BUILTIN = schema.BuiltinOperator
_LAYERS_WITH_BIAS = (_BUILTIN.CONV_2D, _BUILTIN.DEPTHWISE_CONV_2D, _BUILTIN.FULLY_CONNECTED)
_BIAS = 2
_ACTIVE_RANGE = {
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
"""Outputs that the fused activation of a layer does not clip."""

Images = NDArray[np.uint8]


def correct_biases(original: bytes, quantized: bytes, images: Images) -> bytes:
    """Return a quantized graph with corrected biases.

    Parameters
    ----------
    original : bytes
        The graph in float32; layers are matched by the names of their output tensors.
    quantized : bytes
    images : ndarray of shape (n, size, size, 3), uint8
        A few dozen are enough, because most layers have thousands of outputs per image.
    """
    means = {layer.name: layer.mean for layer in _LayerWalk(convert_bytearray_to_object(original), images)}
    model = convert_bytearray_to_object(quantized)
    for layer in _LayerWalk(model, images):
        if layer.name in means:
            layer.correct_bias(means[layer.name])
    return bytes(convert_object_to_bytearray(model))


def operations(model: Any) -> list[tuple[int, Any]]:
    """Return the operations of a graph in their order, each with its code in LiteRT's BuiltinOperator."""
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [(codes[operation.opcodeIndex], operation) for operation in model.subgraphs[0].operators]


class _LayerWalk:
    """Runs a graph from one layer with a bias to the next, so that a bias can be changed before the graph goes on."""

    def __init__(self, model: Any, images: Images) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self._last_use = {int(tensor): len(self.graph.operators) for tensor in self.graph.outputs}
        for place, operation in enumerate(self.graph.operators):
            for tensor in operation.inputs:
                self._last_use[int(tensor)] = max(place, self._last_use.get(int(tensor), 0))
        image_tensor = int(self.graph.inputs[0])
        self.micro_batches: list[dict[int, NDArray[Any]]] = [
            {image_tensor: images[start : start + RUNTIME_BATCH]} for start in range(0, len(images), RUNTIME_BATCH)
        ]
        """Values of the tensors that later operations read, by the index of the tensor."""

    def __iter__(self) -> Iterator[_BiasLayer]:
        segment: list[Any] = []
        for place, (code, operation) in enumerate(operations(self.model)):
            segment.append(operation)
            if code not in _LAYERS_WITH_BIAS or len(operation.inputs) <= _BIAS or operation.inputs[_BIAS] < 0:
                continue
            # The outputs of the segment that later operations read, and its last output.
            last = int(operation.outputs[0])
            outputs = [int(tensor) for each in segment for tensor in each.outputs]
            later = [tensor for tensor in outputs if tensor == last or self._last_use.get(tensor, -1) > place]
            layer = _BiasLayer(self, segment, later)
            layer.run()
            yield layer
            for micro_batch, values in zip(self.micro_batches, layer.outputs, strict=True):
                micro_batch.update(values)
                for tensor in [tensor for tensor in micro_batch if self._last_use.get(tensor, -1) <= place]:
                    del micro_batch[tensor]
            segment = []


class _BiasLayer:
    """A layer with a bias, at the end of a segment of the graph, and its outputs for the images after `run`."""

    def __init__(self, walk: _LayerWalk, segment: list[Any], output_tensors: list[int]) -> None:
        self._walk, self._segment, self._output_tensors = walk, segment, output_tensors
        self._operation = segment[-1]
        self._output = int(self._operation.outputs[0])
        self.outputs: list[dict[int, NDArray[Any]]] = []
        """Values of `output_tensors` for each micro-batch."""
        self.mean: NDArray[np.float64] = np.zeros(0)
        """Mean of each channel over all positions of all images."""
        self._active_share: NDArray[np.float64] = np.zeros(0)

    @property
    def name(self) -> bytes:
        """Name of the output tensor."""
        return bytes(self._tensor(self._output).name)

    def correct_bias(self, mean: NDArray[np.float64]) -> None:
        """Change the bias so that the mean of each channel becomes `mean`, and run the layer again."""
        shift = (mean - self.mean) / np.maximum(self._active_share, _MIN_ACTIVE_SHARE)
        inputs, weights, bias = (self._tensor(int(tensor)) for tensor in self._operation.inputs[: _BIAS + 1])
        buffer = self._unshared_buffer(bias)
        old = np.asarray(buffer.data, np.uint8).tobytes()
        if bias.type == schema.TensorType.INT32:
            step = inputs.quantization.scale[0] * np.asarray(weights.quantization.scale, np.float64)
            corrected = np.frombuffer(old, np.int32) + np.round(shift / step)
            limits = np.iinfo(np.int32)
            new = np.clip(corrected, limits.min, limits.max).astype(np.int32).tobytes()
        elif bias.type == schema.TensorType.FLOAT32:
            new = (np.frombuffer(old, np.float32) + shift).astype(np.float32).tobytes()
        else:
            return
        buffer.data = np.frombuffer(new, np.uint8)
        self.run()

    def run(self) -> None:
        """Compute the outputs for all images."""
        read = {int(tensor) for operation in self._segment for tensor in operation.inputs}
        inputs = [tensor for tensor in self._walk.micro_batches[0] if tensor in read]
        graph = _subgraph(self._walk.model, self._segment, inputs, self._output_tensors)
        interpreter = Interpreter(model_content=graph, num_threads=cpu_count())
        input_indices = [detail["index"] for detail in interpreter.get_input_details()]
        output_indices = [detail["index"] for detail in interpreter.get_output_details()]
        self.outputs, shapes = [], None
        for micro_batch in self._walk.micro_batches:
            values = [micro_batch[tensor] for tensor in inputs]
            if shapes != (shapes := [value.shape for value in values]):
                for index, shape in zip(input_indices, shapes, strict=True):
                    interpreter.resize_tensor_input(index, shape)
                interpreter.allocate_tensors()
            for index, value in zip(input_indices, values, strict=True):
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            pairs = zip(self._output_tensors, output_indices, strict=True)
            self.outputs.append({tensor: interpreter.get_tensor(index) for tensor, index in pairs})
        self._measure_channels()

    def _measure_channels(self) -> None:
        """Compute mean and active share of each channel over all positions of all images."""
        quantization = self._tensor(self._output).quantization
        activation = self._operation.builtinOptions.fusedActivationFunction
        low, high = _ACTIVE_RANGE.get(activation, (-np.inf, np.inf))
        total: Any = 0.0
        active: Any = 0.0
        count, step = 0, 0.0
        for outputs in (each[self._output] for each in self.outputs):
            rows = outputs.reshape(-1, outputs.shape[-1]).astype(np.float32)
            if outputs.dtype != np.float32:
                step = float(quantization.scale[0])
                rows = (rows - quantization.zeroPoint[0]) * step
            total = total + rows.sum(axis=0, dtype=np.float64)
            active = active + ((rows > low + step / 2) & (rows < high - step / 2)).sum(axis=0)
            count += len(rows)
        self.mean, self._active_share = total / count, active / count

    def _tensor(self, index: int) -> Any:
        return self._walk.graph.tensors[index]

    def _unshared_buffer(self, tensor: Any) -> Any:
        """Return the buffer of a bias, copied first if other tensors use it, too."""
        buffers = self._walk.model.buffers
        if sum(other.buffer == tensor.buffer for other in self._walk.graph.tensors) > 1:
            buffers.append(copy(buffers[tensor.buffer]))
            tensor.buffer = len(buffers) - 1
        return buffers[tensor.buffer]


class _Renumbering(dict[int, int]):
    """New consecutive indices for the items of a list that are copied, in the order of the first request."""

    def of(self, old: int) -> int:
        """Return the new index of an item; -1 stands for no item."""
        return -1 if old < 0 else self.setdefault(old, len(self))


def _subgraph(model: Any, segment: list[Any], inputs: list[int], outputs: list[int]) -> bytes:
    """Return a graph of some operations, with only the tensors and weights that they need."""
    tensors, buffers = _Renumbering(), _Renumbering({0: 0})

    def renumbered(indices: Iterable[Any]) -> NDArray[np.int32]:
        return np.array([tensors.of(int(index)) for index in indices], np.int32)

    graph = schema.SubGraphT()
    graph.operators = [copy(operation) for operation in segment]
    for operator in graph.operators:
        operator.inputs, operator.outputs = renumbered(operator.inputs), renumbered(operator.outputs)
    graph.inputs, graph.outputs = renumbered(inputs), renumbered(outputs)
    graph.tensors = [copy(model.subgraphs[0].tensors[index]) for index in tensors]
    for tensor in graph.tensors:
        tensor.buffer = buffers.of(tensor.buffer)
    result = schema.ModelT()
    result.version, result.operatorCodes, result.subgraphs = model.version, model.operatorCodes, [graph]
    result.buffers = [model.buffers[index] for index in buffers]
    return bytes(convert_object_to_bytearray(result))
