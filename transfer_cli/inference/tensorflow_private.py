"""Every use of TensorFlow's private modules: a new version of TensorFlow can break this file, and no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transfer_cli.inference.formats.signature import INPUT


def litert_converter(network: keras.Model) -> Any:
    """Return a converter to LiteRT for a network whose variables were frozen to constants.

    Freezing first takes a quarter of the time of ``model.export`` for small networks, which goes through a SavedModel
    (see docs/benchmarks.md).

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    """
    signature = [tf.TensorSpec([None, *network.input_shape[1:]], tf.uint8, name=INPUT)]
    traced = tf.function(lambda images: network(images, training=False), signature, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def calibrated_graph(network: keras.Model, images: NDArray[np.uint8]) -> bytes:
    """Return the float32 LiteRT graph of a network with the range of each tensor on some images."""

    def representative_dataset() -> Iterator[list[NDArray[np.uint8]]]:
        return ([image[None]] for image in images)

    converter = litert_converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    # Operations without an int8 version stay float32.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


def quantize(calibrated: bytes, float_tensors: Sequence[str]) -> bytes:
    """Return a calibrated graph in int8, from uint8 to float32; operations that give `float_tensors` stay float32."""
    return bytes(
        mlir_quantize(
            calibrated, input_data_type=tf.uint8, output_data_type=tf.float32, denylisted_nodes=list(float_tensors)
        )
    )
