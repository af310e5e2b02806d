"""Write a Keras network as a LiteRT graph with int8 weights and activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray
from numpy.typing import NDArray

from transfer_cli.errors import InputError, ModelError
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.bias_correction import correct_biases, operations
from transfer_cli.export.litert.float_layers import Kind, Operation
from transfer_cli.export.litert.metadata import signature_of
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.litert_conversion import silent_converter
from transfer_cli.inference.tensorflow_private import calibrated_graph, quantize

BIAS_CORRECTION_IMAGES = 48
"""Number of calibration images for the correction of biases; more change nothing, see docs/export.md."""
_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
_KINDS: dict[int, Kind] = {
    schema.BuiltinOperator.CONV_2D: "convolution",
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: "convolution",
    schema.BuiltinOperator.FULLY_CONNECTED: "dense",
    schema.BuiltinOperator.SOFTMAX: "probabilities",
    schema.BuiltinOperator.LOGISTIC: "probabilities",
}

Images = NDArray[np.uint8]


def write_litert_int8(network: keras.Model, calibration: Iterable[Images] | Images, path: Path) -> None:
    """Write a network as a LiteRT graph with int8 weights and activations.

    Weights have one scale per channel, activations one per tensor, from the minimum and maximum over the calibration
    images [1]_. The first convolutions, the last dense layer and everything after it stay float32, which halves the
    error (see docs/export.md). Then biases are corrected [2]_, see `bias_correction`.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k).
    calibration : iterable of ndarray of shape (n, size, size, 3) or (size, size, 3), uint8
        100 to 200 training images of all classes.
    path : Path

    Raises
    ------
    InputError
        When there is no image, or one has another size than the network's input.
    ModelError
        When TensorFlow cannot convert the network.

    References
    ----------
    .. [1] Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
       Inference".
    .. [2] Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction".
    """
    images = stack_images(calibration, network.input_shape[1])
    try:
        with silent_converter():
            calibrated = calibrated_graph(network, images)
            float_tensors = _float_tensors(convert_bytearray_to_object(calibrated))
            quantized = quantize(calibrated, float_tensors)
            graph = _with_signature(
                correct_biases(calibrated, quantized, _evenly_spaced(images, BIAS_CORRECTION_IMAGES))
            )
    except Exception as error:  # the converter raises many kinds of errors for an operation that it does not know
        raise ModelError(f"{network.name} cannot be quantized for LiteRT: {error}.") from error
    path.write_bytes(graph)


def stack_images(images: Iterable[Images] | Images, size: int) -> Images:
    """Return calibration images as one array of shape (n, size, size, 3), uint8.

    Raises
    ------
    InputError
        When there are none, or an array has another shape or data type.
    """
    shape = (size, size, 3)
    arrays = [np.asarray(array) for array in images]
    for array in arrays:
        if array.dtype != np.uint8 or array.shape[-3:] != shape or array.ndim not in (3, 4):
            raise InputError(
                f"Expected calibration images of uint8 and shape {shape}. Received: {array.dtype} of {array.shape}."
            )
    if not arrays:
        raise InputError("Expected calibration images. Received none.", hint="100 training images are enough.")
    return np.concatenate([array.reshape(-1, *shape) for array in arrays])


def _evenly_spaced(images: Images, count: int) -> Images:
    """Return up to `count` images, evenly spaced, because the array may be sorted by class."""
    selected: Images = images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]
    return selected


def _float_tensors(model: Any) -> list[str]:
    """Return the outputs of what stays float32: the first convolutions, and the last dense layer and its successors.

    In int8 a probability would be a multiple of 1/256, and two classes with close logits would be tied.
    """
    tensors = model.subgraphs[0].tensors
    order = operations(model)
    graph = _operations_of(order, tensors)
    selected = [*float_layers.early(graph), *(float_layers.tail(graph) or [len(order) - 1])]
    return [tensors[order[index][1].outputs[0]].name.decode() for index in selected]


def _operations_of(order: Sequence[tuple[int, Any]], tensors: Sequence[Any]) -> list[Operation]:
    producer = {int(tensor): index for index, (_, operation) in enumerate(order) for tensor in operation.outputs}
    result = []
    for code, operation in order:
        parents = tuple(producer[int(tensor)] for tensor in operation.inputs if int(tensor) in producer)
        weights = int(np.prod(tensors[operation.inputs[1]].shape)) if code in _CONVOLUTIONS else 0
        result.append(Operation(_KINDS.get(code, "other"), parents, weights))
    return result


def _with_signature(graph: bytes) -> bytes:
    """Return a graph whose input and output tensors have their standard names, which a signature repeats."""
    model = convert_bytearray_to_object(graph)
    subgraph = model.subgraphs[0]
    for tensors, name in ((subgraph.inputs, INPUT), (subgraph.outputs, OUTPUT)):
        subgraph.tensors[tensors[0]].name = name.encode()
    model.signatureDefs = [signature_of(model)]
    return bytes(convert_object_to_bytearray(model))
