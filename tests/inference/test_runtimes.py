from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.inference import runtimes as running

GRAPHS = [name for name in runtimes.names() if runtimes.find(name).runs_converted_graph]


Images = NDArray[np.uint8]


@pytest.mark.parametrize("name", GRAPHS)
def test_open_graph_agrees_with_keras(
    name: str, graph_file: Path, photographs: Images, keras_output: NDArray[np.float32]
) -> None:
    run = running.open_graph(name, graph_file)
    np.testing.assert_allclose(run(photographs), keras_output, atol=1e-4)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(photographs[..., ::-1].copy()), keras_output, atol=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_open_graph_output_does_not_depend_on_the_batch(name: str, graph_file: Path, photographs: Images) -> None:
    run = running.open_graph(name, graph_file)
    whole = run(photographs)
    for count in (1, 3, 7):
        parts = [run(photographs[at : at + count]) for at in range(0, len(photographs), count)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_open_graph_in_bf16_is_less_precise(
    graph_file: Path, photographs: Images, keras_output: NDArray[np.float32]
) -> None:
    rows = running.open_graph(runtimes.OPENVINO, graph_file, "bf16")(photographs)
    off = np.abs(rows - keras_output)
    assert off.max() > 1e-4
    assert off.mean() < 0.1


@pytest.mark.parametrize("name", GRAPHS)
def test_open_graph_invalid_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "graph.tflite").write_bytes(b"TFL3 and nothing else")
    with pytest.raises(ModelError, match=f"cannot be opened by {name}"):
        running.open_graph(name, tmp_path / "graph.tflite")


def test_open_graph_missing_runtime_raises(graph_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="needs the package openvino, which is not installed") as caught:
        running.open_graph(runtimes.OPENVINO, graph_file)
    assert caught.value.hint == "Install it: pip install 'transfer-cli[openvino]', or use --runtime keras."


def test_resolve_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = running.MIN_IMAGES_TO_CONVERT, running.MIN_IMAGES_TO_CONVERT - 1
    monkeypatch.setattr(running, "has_gpu", lambda: False)

    def resolved(request: str, images: int, keeps_model: bool, parameters: int = 3_500_000) -> str:
        return running.resolve(request, images=images, keeps_model=keeps_model, parameters=parameters)

    assert resolved("auto", few, True) == "litert"
    assert resolved("auto", many, False) == "litert"
    assert resolved("auto", few, False) == "keras"
    assert resolved("openvino", few, False) == "openvino"
    assert resolved("auto", many, True, find("convnext_base").parameters) == "litert"
    assert resolved("auto", many, True, find("convnext_large").parameters) == "keras"
    assert resolved("litert", many, True, find("convnext_large").parameters) == "litert"
    monkeypatch.setattr(running, "has_gpu", lambda: True)
    assert resolved("auto", many, True) == "keras"


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("kind", ["onnx", "openvino", "text", "empty", "identifier elsewhere"])
def test_open_graph_of_another_format_is_refused_by_its_first_bytes(name: str, kind: str, tmp_path: Path) -> None:
    """OpenVINO would read any format under the name graph.tflite, and then the files that it names."""
    contents = {
        "onnx": b"\x08\x07\x12\x04test:\x10\n\x0e\n\x01x\x12\x01y\x22\x06Loop",
        "openvino": b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "b">]><net name="&a;" version="11"/>',
        "text": b"not a graph at all",
        "empty": b"",
        "identifier elsewhere": b"TFL3" + bytes(20),
    }
    (tmp_path / "graph.tflite").write_bytes(contents[kind])
    with pytest.raises(ModelError, match=f"cannot be opened by {name}: expected a LiteRT graph, which has TFL3"):
        running.open_graph(name, tmp_path / "graph.tflite")


def test_open_graph_of_openvino_uses_the_front_end_of_litert_alone(
    graph_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    def refuse(*arguments: object) -> None:
        raise AssertionError("OpenVINO chose a front end by the content")

    monkeypatch.setattr(openvino.Core, "read_model", refuse)
    assert running.open_graph(runtimes.OPENVINO, graph_file) is not None
