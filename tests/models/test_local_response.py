"""Local response normalisation: equal to TensorFlow's, and kept by files and converted graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from transfer_cli.export.onnx.writer import write_onnx
from transfer_cli.inference.formats.onnx import open_onnx
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.inference.runtimes import open_graph
from transfer_cli.io.untrusted.keras_config import check_keras_file
from transfer_cli.models.local_response import ALPHA, local_response

SIDE, CHANNELS = 6, 7


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a convolution whose responses, from images, are normalised; the last are their means."""
    keras.utils.set_random_seed(2)
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="images")
    maps = keras.layers.Conv2D(CHANNELS, 3, name="conv")(keras.ops.cast(images, "float32") / 127.5)
    return keras.Model(images, keras.layers.Flatten(name="flatten")(local_response(maps, "norm")))


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)


def test_responses_are_those_of_tensorflow(network: keras.Model) -> None:
    maps = keras.Model(network.inputs[0], network.get_layer("conv").output)(images())

    def of_tensorflow(radius: int = 2, alpha: float = ALPHA) -> Any:
        return np.reshape(tf.nn.local_response_normalization(maps, radius, 2.0, alpha, 0.75), (len(maps), -1))

    normalised = np.asarray(network(images()))
    np.testing.assert_allclose(normalised, of_tensorflow(), atol=1e-6)
    # The twins: a narrower window, and the paper's constant for pixels up to 255, which would do nearly nothing here.
    assert np.abs(normalised - of_tensorflow(radius=1)).max() > 1e-3
    assert np.abs(normalised - of_tensorflow(alpha=1e-4)).max() > 1e-3


def test_files_and_graphs_give_the_same(network: keras.Model, tmp_path: Path) -> None:
    expected = np.asarray(network(images()))
    network.save(tmp_path / "network.keras")
    check_keras_file(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(images()), expected)
    write_onnx(network, tmp_path / "network.onnx")
    convert(network, tmp_path / "network.tflite")
    for run in (open_onnx(tmp_path / "network.onnx"), open_graph("litert", tmp_path / "network.tflite")):
        np.testing.assert_allclose(run(images()), expected, atol=1e-6)
