"""int8 graphs predict nearly like float32; calibrated on the wrong images they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from tests.clothing_classifier import SIDE, ClothingClassifier, clothing_classifier
from tests.exported_files import with_ignored_input
from transfer_cli.errors import ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export.litert import float_layers, int8
from transfer_cli.export.litert.float_layers import count_early
from transfer_cli.export.litert.int8 import write_litert_int8
from transfer_cli.inference.runtimes import open_graph

pytestmark = pytest.mark.integration

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def classifier(shared: Path) -> ClothingClassifier:
    return clothing_classifier(shared)


@pytest.fixture(scope="module")
def graph(classifier: ClothingClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "graph.tflite"
    write_litert_int8(classifier.network, classifier.train[::4], path)
    return path


def mean_error(path: Path, images: Images, expected: Rows) -> float:
    """Return the mean over images of the maximum absolute difference of the probabilities."""
    return float(np.abs(open_graph("litert", path)(images) - expected).max(axis=1).mean())


def test_write_litert_int8_predicts_nearly_like_float32(graph: Path, classifier: ClothingClassifier) -> None:
    assert mean_error(graph, classifier.test, classifier.expected) < 0.08
    assert mean_error(graph, classifier.test[..., ::-1].copy(), classifier.expected) > 0.1


def test_write_litert_int8_wrong_calibration_images_increase_the_error(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path
) -> None:
    black = tmp_path / "black.tflite"
    write_litert_int8(classifier.network, np.zeros((8, SIDE, SIDE, 3), np.uint8), black)
    error = mean_error(graph, classifier.test, classifier.expected)
    assert mean_error(black, classifier.test, classifier.expected) > 1.5 * error


def test_write_litert_int8_bias_correction_reduces_the_error(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "correct_biases", lambda original, quantized, images: quantized)
    uncorrected = tmp_path / "uncorrected.tflite"
    write_litert_int8(classifier.network, classifier.train[::4], uncorrected)
    error = mean_error(graph, classifier.test, classifier.expected)
    assert error < 0.7 * mean_error(uncorrected, classifier.test, classifier.expected)


def test_accuracy_drop_detects_a_graph_that_ignores_its_input(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path
) -> None:
    blind = tmp_path / "blind.tflite"
    write_litert_int8(with_ignored_input(classifier.network), classifier.train[::4], blind)
    drops = [
        accuracy_drop(classifier.truth, classifier.expected, open_graph("litert", path)(classifier.test))
        for path in (graph, blind)
    ]
    assert drops[0][0] < 3
    points, low, _ = drops[1]
    assert points > 10
    assert low is not None
    assert low > 5


def test_count_early_counts_the_first_small_convolutions() -> None:
    assert count_early([10, 10, 500, 500]) == 2
    assert count_early([100, 100, 500, 500]) == 0
    assert count_early([]) == 0


def test_write_litert_int8_float32_convolutions_reduce_the_error(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float_layers, "EARLY_SHARE", 0)
    all_int8 = tmp_path / "all.tflite"
    write_litert_int8(classifier.network, classifier.train[::4], all_int8)
    error = mean_error(graph, classifier.test, classifier.expected)
    assert error < 0.8 * mean_error(all_int8, classifier.test, classifier.expected)
    assert graph.stat().st_size < 1.1 * all_int8.stat().st_size


def test_write_litert_int8_signature_and_batch_size(graph: Path, classifier: ClothingClassifier) -> None:
    interpreter = Interpreter(str(graph))
    (images,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (images["name"], images["dtype"]) == ("images", np.uint8)
    assert (probabilities["name"], probabilities["dtype"]) == ("probabilities", np.float32)
    assert list(images["shape_signature"]) == [-1, SIDE, SIDE, 3]
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["probabilities"]}}
    run = open_graph("litert", graph)
    single = [run(classifier.test[row : row + 1]) for row in range(5)]
    assert np.array_equal(np.concatenate(single), run(classifier.test[:5]))


def test_write_litert_int8_prints_nothing(
    classifier: ClothingClassifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_litert_int8(classifier.network, classifier.train[:4], tmp_path / "graph.tflite")
    assert capfd.readouterr() == ("", "")


def test_write_litert_int8_converter_failure_is_a_model_error(
    classifier: ClothingClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(int8, "quantize", fail)
    with pytest.raises(ModelError, match="clothes cannot be quantized for LiteRT: no such operation"):
        write_litert_int8(classifier.network, classifier.train[:4], tmp_path / "graph.tflite")
