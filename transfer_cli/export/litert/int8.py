"""Write a Keras network as a LiteRT graph with int8 weights and activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.bias_correction import correct_biases, operations
from transfer_cli.export.litert.float_layers import Kind, Operation
from transfer_cli.export.litert.metadata import signature_of
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.litert_conversion import silent_converter
from transfer_cli.inference.tensorflow_private import calibrated_graph, quantize

BIAS_CORRECTION_IMAGES = 48
"""Number of calibration images for the correction of biases; more change nothing, see docs/export.md."""
_KINDS: dict[int, Kind] = {
    schema.BuiltinOperator.CONV_2D: "convolution",
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: "convolution",
    schema.BuiltinOperator.MEAN: "pooling",
    schema.BuiltinOperator.ABS: "absolute",
    schema.BuiltinOperator.FULLY_CONNECTED: "dense",
    schema.BuiltinOperator.SOFTMAX: "probabilities",
    schema.BuiltinOperator.LOGISTIC: "probabilities",
}

Images = NDArray[np.uint8]


def write_litert_int8(network: keras.Model, calibration: Images, path: Path) -> None:
    """Write a network as a LiteRT graph with int8 weights and activations.

    Weights have one scale per channel, activations one per tensor, from the minimum and maximum over the calibration
    images [1]_. The first convolutions, the roots of pooled features, the last dense layer and everything after it stay
    float32, which halves the error (see docs/export.md). Then biases are corrected [2]_, see `bias_correction`.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k).
    calibration : ndarray of shape (n, size, size, 3), uint8
        100 to 200 training images of all classes.
    path : Path

    Raises
    ------
    ModelError
        When TensorFlow cannot convert the network.

    References
    ----------
    .. [1] Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
       Inference".
    .. [2] Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction".
    """
    # The images may be sorted by class.
    count = min(BIAS_CORRECTION_IMAGES, len(calibration))
    evenly_spaced = np.linspace(0, len(calibration) - 1, count).round().astype(int)
    try:
        with silent_converter():
            calibrated = calibrated_graph(network, calibration)
            quantized = quantize(calibrated, _float_tensors(convert_bytearray_to_object(calibrated)))
            graph = _with_signature(correct_biases(calibrated, quantized, calibration[evenly_spaced]))
    except Exception as error:  # the converter raises many kinds of errors for an operation that it does not know
        raise ModelError(f"{network.name} cannot be quantized for LiteRT: {error}.") from error
    path.write_bytes(graph)


def _float_tensors(model: Any) -> list[str]:
    """Return the outputs of what stays float32: the first convolutions, roots, the last dense layer, its successors.

    In int8 a probability would be a multiple of 1/256, and two classes with close logits would be tied.
    """
    tensors, order = model.subgraphs[0].tensors, operations(model)
    producer = {int(tensor): index for index, (_, operation) in enumerate(order) for tensor in operation.outputs}
    graph = []
    for code, operation in order:
        kind: Kind = _KINDS.get(code, "other")
        parents = tuple(producer[int(tensor)] for tensor in operation.inputs if int(tensor) in producer)
        weights = int(np.prod(tensors[operation.inputs[1]].shape)) if kind == "convolution" else 0
        graph.append(Operation(kind, parents, weights))
    late = float_layers.tail(graph) or [len(order) - 1]
    selected = sorted({*float_layers.early(graph), *float_layers.roots(graph), *late})
    return [tensors[order[index][1].outputs[0]].name.decode() for index in selected]


def _with_signature(graph: bytes) -> bytes:
    """Return a graph whose input and output tensors have their standard names, which a signature repeats."""
    model = convert_bytearray_to_object(graph)
    subgraph = model.subgraphs[0]
    for tensors, name in ((subgraph.inputs, INPUT), (subgraph.outputs, OUTPUT)):
        subgraph.tensors[tensors[0]].name = name.encode()
    model.signatureDefs = [signature_of(model)]
    return bytes(convert_object_to_bytearray(model))
