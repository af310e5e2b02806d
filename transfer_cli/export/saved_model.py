"""Write a network as a SavedModel, which needs nothing but TensorFlow.

TensorFlow Serving reads the folder as it is: put it at ``MODELS/NAME/1`` and start ``tensorflow_model_server
--rest_api_port=8501 --model_name=NAME --model_base_path=MODELS/NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.io.atomic import atomic_write
from transfer_cli.io.drafts import temporary_folder

SIGNATURE = "serving_default"


def write_saved_model(network: keras.Model, target: Path, assets: Mapping[str, bytes]) -> None:
    """Write a network as a SavedModel with the signature ``serving_default``.

    The signature maps `images`, uint8 of shape (n, size, size, 3), to `probabilities`, float32 of shape (n, k). The
    weights are variables, not constants of the graph: a large network is written and read in half the time, and may
    exceed the 2 GB limit of a graph.

    Parameters
    ----------
    network : keras.Model
        From uint8 images to probabilities.
    target : Path
        Folder to write; an existing one is replaced.
    assets : mapping of str to bytes
        Files to add to its folder ``assets``, by name.
    """
    images = tf.TensorSpec([None, *network.input_shape[1:]], tf.uint8, name=INPUT)

    def predict(images: Any) -> dict[str, Any]:
        return {OUTPUT: network(images, training=False)}

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    signatures = {SIGNATURE: tf.function(predict, [images], autograph=False)}
    with temporary_folder() as folder:
        for name, content in assets.items():
            (folder / name).write_bytes(content)
        module.assets = {name: tf.saved_model.Asset(str(folder / name)) for name in assets}
        with atomic_write(target) as draft:
            tf.saved_model.save(module, str(draft), signatures)
