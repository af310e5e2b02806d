"""A network as a SavedModel, which takes pixels or the bytes of pictures and needs nothing but TensorFlow.

TensorFlow Serving takes the folder as it is: put it at ``MODELS/NAME/1`` and start ``tensorflow_model_server
--rest_api_port=8501 --model_name=NAME --model_base_path=MODELS/NAME``. A picture is then sent as
``{"signature_name": "serving_bytes", "inputs": {"bytes": [{"b64": "..."}]}}`` to ``/v1/models/NAME:predict``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import tensorflow as tf

from transfer_cli.export.saved_model.decode import decode_graph
from transfer_cli.io.atomic import written_whole

PIXELS, BYTES = "serving_default", "serving_bytes"
Tensor = Any


def write_saved_model(
    network: keras.Model, target: Path, *, size: int, resize: str, assets: Mapping[str, bytes]
) -> None:
    """Write a network as a SavedModel of two signatures.

    ``serving_default`` takes `images`, uint8 of shape (n, size, size, 3); ``serving_bytes`` takes `bytes`, strings of
    shape (n,), each a JPEG or PNG file, and decodes and resizes them as ``engine.images.decode`` does. Both give
    `probabilities`, float32 of shape (n, k). The weights are variables, not constants of the graph: a large network is
    written and read in half the time, and may have more than the two GiB that a graph can hold.

    Parameters
    ----------
    network : keras.Model
        From uint8 pictures to probabilities.
    target : Path
        The folder to make; it is replaced as a whole.
    size : int
        Side of the pictures in pixels.
    resize : {"squash", "crop", "pad"}
    assets : mapping of str to bytes
        Files that travel with it in its folder ``assets``, by their names.
    """
    pixels = tf.TensorSpec([None, size, size, 3], tf.uint8, name="images")

    # Both signatures call one graph, which is then written once.
    answer = tf.function(lambda images: network(images, training=False), [pixels], autograph=False)

    def of_images(images: Tensor) -> dict[str, Tensor]:
        return {"probabilities": answer(images)}

    def of_bytes(bytes: Tensor) -> dict[str, Tensor]:
        # Whole numbers on the processor are the same everywhere.
        with tf.device("/CPU:0"):
            one = tf.TensorSpec([size, size, 3], tf.uint8)
            images = tf.map_fn(lambda data: decode_graph(data, size, resize), bytes, fn_output_signature=one)
        return of_images(images)

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    signatures = {
        PIXELS: tf.function(of_images, [pixels], autograph=False),
        BYTES: tf.function(of_bytes, [tf.TensorSpec([None], tf.string, name="bytes")], autograph=False),
    }
    with TemporaryDirectory() as folder, written_whole(target) as draft:
        for name, content in assets.items():
            (Path(folder) / name).write_bytes(content)
        module.assets = {name: tf.saved_model.Asset(str(Path(folder) / name)) for name in assets}
        tf.saved_model.save(module, str(draft), signatures)
