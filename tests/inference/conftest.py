"""A network whose output depends on its input, as a Keras file and as a converted graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.live_networks import alive, answers_to_its_input, sample_images
from transfer_cli.catalog.backbones import find
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.models.compile import inference_function
from transfer_cli.models.keras_file import load_keras

SIDE = 96


Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Images:
    return sample_images(shared / "data/clothing/test", SIDE)


@pytest.fixture(scope="module")
def network_file(photographs: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a network whose output depends on its input."""
    path = tmp_path_factory.mktemp("network") / "network.keras"
    alive(find("mobilenet@0.25"), photographs).save(path)
    return path


@pytest.fixture(scope="module")
def graph_file(network_file: Path) -> Path:
    convert(load_keras(network_file), network_file.with_suffix(".tflite"))
    return network_file.with_suffix(".tflite")


@pytest.fixture(scope="module")
def keras_output(network_file: Path, photographs: Images) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = inference_function(load_keras(network_file))(photographs)
    assert answers_to_its_input(rows)
    return rows
