"""A Keras network as a LiteRT graph that computes with eight bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray

from transfer_cli.errors import InputError, ModelError
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.bias_correction import corrected, operations
from transfer_cli.export.litert.float_layers import Kind, Step
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.litert_conversion import _silence

CORRECTED_ON = 48
"""Pictures of those for calibration on which biases are corrected; more change nothing, see docs/export.md."""
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
    """Write a network as a LiteRT graph with weights and activations of eight bits.

    Weights have a scale for each channel, activations one for each tensor, from the least and the largest value on
    `calibration` (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference"). The first convolutions, the last dense layer and what follows it stay float32, which halves what is
    lost (see docs/export.md). Then biases are corrected, see bias_correction.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k).
    calibration : iterable of ndarray of shape (n, size, size, 3) or (size, size, 3), uint8
        Pictures that the network has learnt from, of all classes: a hundred or two.
    path : Path

    Raises
    ------
    InputError
        When there is no picture, or one is not of the network's size.
    ModelError
        When the converter gives up.
    """
    images = gathered(calibration, network.input_shape[1])
    try:
        with _silence():
            calibrated = _calibrated(network, images)
            quantized = mlir_quantize(
                calibrated,
                input_data_type=tf.uint8,
                output_data_type=tf.float32,
                denylisted_nodes=_accurate(convert_bytearray_to_object(bytearray(calibrated))),
            )
            data = _named(corrected(calibrated, quantized, _spread(images, CORRECTED_ON)))
    except Exception as error:  # the converter raises many kinds at an operation it does not know
        raise ModelError(f"{network.name} could not be quantised for LiteRT: {error}.") from error
    path.write_bytes(data)


def gathered(images: Iterable[Images] | Images, size: int) -> Images:
    """Return pictures as one array of shape (n, size, size, 3), uint8.

    Raises
    ------
    InputError
        When there is none, or one is something else.
    """
    shape = (size, size, 3)
    parts = [np.asarray(part) for part in images]
    for part in parts:
        if part.dtype != np.uint8 or part.shape[-3:] != shape or part.ndim not in (3, 4):
            raise InputError(
                f"Expected pictures for calibration of uint8 and {shape}. Received: {part.dtype} of {part.shape}."
            )
    if not parts:
        raise InputError("Expected pictures for calibration. Received none.", hint="A hundred train pictures suffice.")
    return np.concatenate([part.reshape(-1, *shape) for part in parts])


def _spread(images: Images, count: int) -> Images:
    """Return so many pictures from all over an array, which may have been sorted by class."""
    chosen: Images = images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]
    return chosen


def _calibrated(network: keras.Model, images: Images) -> bytes:
    """Return the graph in float32 with the range of each tensor on some pictures."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def given() -> Iterator[list[Images]]:
        return ([image[None]] for image in images)

    signature = [tf.TensorSpec([None, *images.shape[1:]], tf.uint8, name=INPUT)]
    traced = tf.function(lambda images: network(images, training=False), signature, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = given
    # What has no form with eight bits stays as it is.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


def _accurate(model: Any) -> list[str]:
    """Return the names of what is left in float32: the first convolutions, and all from the last dense layer on.

    With eight bits a probability is a multiple of 1/256, and of two classes with nearly the same logit none is first.
    """
    tensors = model.subgraphs[0].tensors
    order = operations(model)
    steps = _steps(order, tensors)
    kept = [*float_layers.early(steps), *(float_layers.tail(steps) or [len(order) - 1])]
    return [tensors[order[at][1].outputs[0]].name.decode() for at in kept]


def _steps(order: Sequence[tuple[int, Any]], tensors: Sequence[Any]) -> list[Step]:
    """Return the operations of a graph, each with those it takes something from."""
    made = {int(tensor): at for at, (_, operation) in enumerate(order) for tensor in operation.outputs}
    steps = []
    for kind, operation in order:
        parents = tuple(made[int(tensor)] for tensor in operation.inputs if int(tensor) in made)
        weights = int(np.prod(tensors[operation.inputs[1]].shape)) if kind in _CONVOLUTIONS else 0
        steps.append(Step(_KINDS.get(kind, "other"), parents, weights))
    return steps


def _named(data: bytes) -> bytes:
    """Return a graph whose input and output are called by what they are, with a signature that says so."""
    model = convert_bytearray_to_object(bytearray(data))
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    maps = []
    for numbers, name in ((graph.inputs, INPUT), (graph.outputs, OUTPUT)):
        graph.tensors[numbers[0]].name = name.encode()
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(numbers[0])
        maps.append([entry])
    signature.inputs, signature.outputs = maps
    model.signatureDefs = [signature]
    return bytes(convert_object_to_bytearray(model))
