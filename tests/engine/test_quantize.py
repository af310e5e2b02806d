"""Eight bits say nearly what 32 say; calibrated on the wrong pictures they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine.clothes import SIDE, Clothes, clothes
from transfer_cli.engine import runtimes as running
from transfer_cli.engine.quantize import write_litert_int8

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def given(shared: Path) -> Clothes:
    return clothes(shared)


@pytest.fixture(scope="module")
def graph(given: Clothes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "graph.tflite"
    write_litert_int8(given.network, given.train[::4], path)
    return path


def off(path: Path, images: Images, expected: Rows) -> float:
    """Return by how much probabilities are off, the mean over pictures."""
    return float(np.abs(running.open_graph("litert", path)(images) - expected).max(axis=1).mean())


def test_it_says_nearly_the_same(graph: Path, given: Clothes) -> None:
    assert off(graph, given.test, given.expected) < 0.08
    assert off(graph, given.test[..., ::-1].copy(), given.expected) > 0.1


def test_other_pictures_to_calibrate_on_spoil_it(given: Clothes, tmp_path: Path) -> None:
    write_litert_int8(given.network, np.zeros((8, SIDE, SIDE, 3), np.uint8), tmp_path / "black.tflite")
    assert off(tmp_path / "black.tflite", given.test, given.expected) > 0.3
