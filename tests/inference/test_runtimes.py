"""One network, three runtimes, the same rows; and a graph that gives others is not used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.features.test_cache import Listening
from tests.live_networks import alive, answers_to_its_input, sample_images
from transfer_cli.catalog import runtimes
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import ENOUGH_TO_KEEP, CompiledNetwork, Source
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.io.cache import Cache
from transfer_cli.models.compile import inference_function
from transfer_cli.models.keras_file import load_keras
from transfer_cli.recipe.sections import Inference

GRAPHS = [name for name in runtimes.names() if runtimes.find(name).takes_graph]
SIDE = 96
Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Images:
    return sample_images(shared / "data/clothing/test", SIDE)


@pytest.fixture(scope="module")
def file(photographs: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network that answers to its pictures, as a file."""
    path = tmp_path_factory.mktemp("network") / "network.keras"
    alive(find("mobilenet@0.25"), photographs).save(path)
    return path


@pytest.fixture(scope="module")
def graph(file: Path) -> Path:
    convert(load_keras(file), file.with_suffix(".tflite"))
    return file.with_suffix(".tflite")


@pytest.fixture(scope="module")
def expected(file: Path, photographs: Images) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = inference_function(load_keras(file))(photographs)
    assert answers_to_its_input(rows)
    return rows


def source(file: Path, built: list[str] | None = None, change: Callable[[Path], Path] = lambda path: path) -> Source:
    def build() -> object:
        if built is not None:
            built.append("built")
        return load_keras(change(file))

    return Source({"file": str(file)}, build, classes=True)


@pytest.mark.parametrize("name", GRAPHS)
def test_rows_are_those_of_keras(name: str, graph: Path, photographs: Images, expected: NDArray[np.float32]) -> None:
    run = running.open_graph(name, graph)
    np.testing.assert_allclose(run(photographs), expected, atol=1e-4)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(photographs[..., ::-1].copy()), expected, atol=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_rows_do_not_depend_on_their_neighbours(name: str, graph: Path, photographs: Images) -> None:
    run = running.open_graph(name, graph)
    whole = run(photographs)
    for count in (1, 3, 7):
        parts = [run(photographs[at : at + count]) for at in range(0, len(photographs), count)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_half_the_digits(graph: Path, photographs: Images, expected: NDArray[np.float32]) -> None:
    rows = running.open_graph(runtimes.OPENVINO, graph, "bf16")(photographs)
    off = np.abs(rows - expected)
    assert off.max() > 1e-4
    assert off.mean() < 0.1


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_no_graph(name: str, tmp_path: Path) -> None:
    (tmp_path / "graph.tflite").write_bytes(b"TFL3 and nothing else")
    with pytest.raises(ModelError, match=f"cannot be opened by {name}"):
        running.open_graph(name, tmp_path / "graph.tflite")


def test_a_runtime_that_is_not_installed(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="needs the package openvino, which is not installed") as caught:
        running.open_graph(runtimes.OPENVINO, graph)
    assert caught.value.hint == "Install it: pip install 'transfer-cli[openvino]', or take --runtime keras."


def test_a_network_is_converted_once(
    file: Path, photographs: Images, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    built: list[str] = []
    rows = []
    for _ in range(2):
        network = CompiledNetwork(source(file, built), Inference(runtime="litert"), Cache(tmp_path))
        rows.append(network(photographs))
    assert built == ["built"]
    assert np.array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[0], expected, atol=1e-4)
    assert (network.width, network.runtime, network.device) == (5, "litert", "CPU")


def test_another_runtime_is_checked_for_itself(file: Path, photographs: Images, tmp_path: Path) -> None:
    CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path))(photographs)
    other = CompiledNetwork(source(file), Inference(runtime="openvino"), Cache(tmp_path))
    assert not other.is_checked
    other(photographs)
    assert CompiledNetwork(source(file), Inference(runtime="openvino"), Cache(tmp_path)).is_checked
    assert not CompiledNetwork(
        source(file), Inference(runtime="openvino", precision="bf16"), Cache(tmp_path)
    ).is_checked


def test_a_check_on_few_pictures_is_not_kept(file: Path, photographs: Images, tmp_path: Path) -> None:
    network = CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path))
    network(photographs[: ENOUGH_TO_KEEP - 1])
    assert network.is_checked
    assert Cache(tmp_path).entries() == []


@pytest.mark.parametrize("fault", ["ignores its picture", "swapped channels", "noise"])
def test_a_graph_that_gives_something_else_is_not_used(
    fault: str,
    file: Path,
    photographs: Images,
    expected: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = running.open_graph

    def faulty(*words: object) -> running.Run:
        run = opened(*words)  # type: ignore[arg-type]
        return {
            "ignores its picture": lambda images: np.repeat(run(images[:1]), len(images), axis=0),
            "swapped channels": lambda images: run(images[..., ::-1].copy()),
            "noise": lambda images: run(images) + np.random.default_rng(0).normal(0, 0.05, (len(images), 5)),
        }[fault]

    monkeypatch.setattr(running, "open_graph", faulty)
    listening = Listening()
    network = CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path), listening)
    np.testing.assert_allclose(network(photographs), expected, atol=1e-6)
    assert network.runtime == "keras"
    assert listening.warnings[0].startswith("the network is run by Keras, which is slower: on litert ")
    assert Cache(tmp_path).entries() == []
    assert network.save(tmp_path / "a.keras", tmp_path / "a.tflite") is False
    assert not (tmp_path / "a.tflite").exists()


@pytest.mark.parametrize("when", ["opened", "run", "opened from the cache"])
def test_a_graph_that_a_runtime_cannot_run(
    when: str,
    file: Path,
    photographs: Images,
    expected: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*words: object) -> running.Run:
        def run(images: Images) -> NDArray[np.float32]:
            raise RuntimeError("no such operation")

        if when == "run":
            return run
        raise ModelError("no such operation")

    cache = Cache(tmp_path)
    if when == "opened from the cache":
        CompiledNetwork(source(file), Inference(runtime="litert"), cache)(photographs)
    monkeypatch.setattr(running, "open_graph", fail)
    listening = Listening()
    network = CompiledNetwork(source(file), Inference(runtime="openvino"), cache, listening)
    np.testing.assert_allclose(network(photographs), expected, atol=1e-6)
    assert (network.runtime, network.width) == ("keras", 5)
    assert "no such operation" in listening.warnings[0]


def test_no_room_for_a_graph(
    file: Path, photographs: Images, expected: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **others: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transfer_cli.inference.compiled_network.mkdtemp", fail)
    listening = Listening()
    network = CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path), listening)
    np.testing.assert_allclose(network(photographs), expected, atol=1e-6)
    assert "No space left on device" in listening.warnings[0]


def test_a_network_that_cannot_be_converted(
    file: Path, photographs: Images, expected: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise ModelError("tiny could not be converted: no.")

    monkeypatch.setattr("transfer_cli.inference.litert_conversion.convert", fail)
    listening = Listening()
    network = CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path), listening)
    np.testing.assert_allclose(network(photographs), expected, atol=1e-6)
    assert listening.warnings == ["the network is run by Keras, which is slower: tiny could not be converted: no."]


@pytest.mark.parametrize("name", ["graph.tflite", "info.json"])
def test_a_damaged_network_is_converted_again(name: str, file: Path, photographs: Images, tmp_path: Path) -> None:
    rows = CompiledNetwork(source(file), Inference(runtime="litert"), Cache(tmp_path))(photographs)
    (path,) = tmp_path.rglob(name)
    data = path.read_bytes()[:-30]
    path.write_bytes(data)
    built: list[str] = []
    listening = Listening()
    network = CompiledNetwork(source(file, built), Inference(runtime="litert"), Cache(tmp_path), listening)
    assert np.array_equal(network(photographs), rows)
    assert built == ["built"]
    assert listening.warnings[0].endswith("was damaged: the network is converted again")
    assert path.read_bytes() != data


def test_a_damaged_file_of_keras_is_not_handed_on(file: Path, photographs: Images, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    CompiledNetwork(source(file), Inference(runtime="litert"), cache)(photographs)
    (path,) = cache.path.rglob("network.keras")
    path.write_bytes(path.read_bytes()[:-9])
    built: list[str] = []
    assert CompiledNetwork(source(file, built), Inference(runtime="litert"), cache).save(
        tmp_path / "a.keras", tmp_path / "a.tflite"
    )
    assert built == ["built"]
    load_keras(tmp_path / "a.keras")


def test_saving_after_the_cache_was_emptied(file: Path, photographs: Images, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    rows = CompiledNetwork(source(file), Inference(runtime="litert"), cache)(photographs)
    network = CompiledNetwork(source(file), Inference(runtime="litert"), cache)
    cache.clear()
    assert network.save(tmp_path / "a.keras", tmp_path / "a.tflite")
    np.testing.assert_allclose(running.open_graph("litert", tmp_path / "a.tflite")(photographs), rows, atol=1e-6)


def test_the_rule_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = running.WORTH_CONVERTING, running.WORTH_CONVERTING - 1
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
