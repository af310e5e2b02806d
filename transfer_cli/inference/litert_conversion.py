"""A Keras network becomes a graph that other runtimes can run, with its weights as constants."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transfer_cli.errors import ModelError
from transfer_cli.quiet_imports import native_stderr_kept


def convert(network: keras.Model, path: Path) -> None:
    """Write a network as a LiteRT graph, which OpenVINO reads as well.

    The function is frozen first, so that the converter reads one graph of constants. For small networks that takes a
    quarter of the time of ``model.export``, which goes through a SavedModel (see docs/benchmarks.md).

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    path : Path

    Raises
    ------
    ModelError
        When the converter gives up.
    """
    size = network.input_shape[1]
    signature = [tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")]
    traced = tf.function(lambda images: network(images, training=False), signature, autograph=False)
    try:
        with _silence():
            frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
            data = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except Exception as error:  # the converter raises many kinds at an operation it does not know
        raise ModelError(f"{network.name} could not be converted: {error}.") from error
    path.write_bytes(data)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what the converter says to its developers from a person's terminal."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), native_stderr_kept(show=False):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
