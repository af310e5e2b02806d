"""Eight bits say nearly what 32 say; calibrated on the wrong pictures they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from tests.clothing_classifier import SIDE, Clothes, clothes
from tests.exported_files import blind
from transfer_cli.errors import InputError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export.litert.float_layers import count_early
from transfer_cli.export.litert.int8 import write_litert_int8
from transfer_cli.inference import runtimes as running

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


def test_other_pictures_to_calibrate_on_spoil_it(graph: Path, given: Clothes, tmp_path: Path) -> None:
    write_litert_int8(given.network, np.zeros((8, SIDE, SIDE, 3), np.uint8), tmp_path / "black.tflite")
    assert off(tmp_path / "black.tflite", given.test, given.expected) > 1.5 * off(graph, given.test, given.expected)


def test_biases_that_are_not_corrected_are_worse(
    graph: Path, given: Clothes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer_cli.export.litert.int8.corrected", lambda original, quantized, images: quantized)
    write_litert_int8(given.network, given.train[::4], tmp_path / "plain.tflite")
    assert off(graph, given.test, given.expected) < 0.7 * off(tmp_path / "plain.tflite", given.test, given.expected)


def test_what_was_lost_is_told(graph: Path, given: Clothes, tmp_path: Path) -> None:
    write_litert_int8(blind(given.network), given.train[::4], tmp_path / "blind.tflite")
    lost = {
        path.name: accuracy_drop(given.truth, given.expected, running.open_graph("litert", path)(given.test))
        for path in (graph, tmp_path / "blind.tflite")
    }
    assert lost["graph.tflite"][0] < 3
    drop, low, _ = lost["blind.tflite"]
    assert drop > 10
    assert low is not None
    assert low > 5


def test_the_first_convolutions_are_those_with_few_weights() -> None:
    assert count_early([10, 10, 500, 500]) == 2
    assert count_early([100, 100, 500, 500]) == 0
    assert count_early([]) == 0


def test_the_first_convolutions_stay_float32(
    graph: Path, given: Clothes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer_cli.export.litert.float_layers.EARLY", 0)
    write_litert_int8(given.network, given.train[::4], tmp_path / "all.tflite")
    assert off(graph, given.test, given.expected) < 0.8 * off(tmp_path / "all.tflite", given.test, given.expected)
    assert graph.stat().st_size < 1.1 * (tmp_path / "all.tflite").stat().st_size


def test_names_and_any_number_of_pictures(graph: Path, given: Clothes) -> None:
    interpreter = Interpreter(str(graph))
    (received,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (received["name"], received["dtype"], answered["name"], answered["dtype"]) == (
        "images",
        np.uint8,
        "probabilities",
        np.float32,
    )
    assert list(received["shape_signature"]) == [-1, SIDE, SIDE, 3]
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["probabilities"]}}
    run = running.open_graph("litert", graph)
    assert np.array_equal(np.concatenate([run(given.test[at : at + 1]) for at in range(5)]), run(given.test[:5]))


def test_nothing_is_said(given: Clothes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_litert_int8(given.network, given.train[:4], tmp_path / "graph.tflite")
    assert capfd.readouterr() == ("", "")


def test_pictures_that_cannot_be_used(given: Clothes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Received none"):
        write_litert_int8(given.network, [], tmp_path / "graph.tflite")
    with pytest.raises(InputError, match=r"Received: float64 of \(96, 96, 3\)"):
        write_litert_int8(given.network, [np.zeros((SIDE, SIDE, 3))], tmp_path / "graph.tflite")
    assert not (tmp_path / "graph.tflite").exists()


def test_a_network_that_cannot_be_converted(given: Clothes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **others: object) -> bytes:
        raise RuntimeError("no such operation")

    monkeypatch.setattr("transfer_cli.export.litert.int8.mlir_quantize", fail)
    with pytest.raises(ModelError, match="clothes could not be quantised for LiteRT: no such operation"):
        write_litert_int8(given.network, given.train[:4], tmp_path / "graph.tflite")
