"""A Keras model as a function that is compiled once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def inference_function(model: keras.Model) -> Any:
    """Return a function from uint8 (n, size, size, 3) to float32 (n, width): the model compiled once."""
    import tensorflow as tf

    size = model.input_shape[1]
    graph = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8)],
        autograph=False,
    )

    def call(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(graph(images), dtype=np.float32)

    return call
