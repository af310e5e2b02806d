"""A network gives the same output on all runtimes; a graph with another output is not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.features.test_cache import RecordingProgress
from transfer_cli.errors import ModelError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import MIN_IMAGES_TO_CACHE, CompiledNetwork, NetworkSource
from transfer_cli.inference.formats.signature import Run
from transfer_cli.io.cache import Cache
from transfer_cli.models.keras_file import load_keras
from transfer_cli.recipe.sections import Inference

Images = NDArray[np.uint8]


def source(network_file: Path, built: list[str] | None = None) -> NetworkSource:
    """Return a source that appends to `built` whenever the network is built."""

    def build() -> object:
        if built is not None:
            built.append("built")
        return load_keras(network_file)

    return NetworkSource({"file": str(network_file)}, build, classes=True)


def test_build_converts_a_network_once(
    network_file: Path, photographs: Images, keras_output: NDArray[np.float32], tmp_path: Path
) -> None:
    built: list[str] = []
    rows = []
    for _ in range(2):
        network = CompiledNetwork.build(source(network_file, built), Inference(runtime="litert"), Cache(tmp_path))
        rows.append(network(photographs))
    assert built == ["built"]
    assert np.array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[0], keras_output, atol=1e-4)
    assert (network.width, network.runtime, network.device) == (5, "litert", "CPU")


def test_build_checks_each_runtime_and_precision(network_file: Path, photographs: Images, tmp_path: Path) -> None:
    CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path))(photographs)
    other = CompiledNetwork.build(source(network_file), Inference(runtime="openvino"), Cache(tmp_path))
    assert not other.is_checked
    other(photographs)
    assert CompiledNetwork.build(source(network_file), Inference(runtime="openvino"), Cache(tmp_path)).is_checked
    assert not CompiledNetwork.build(
        source(network_file), Inference(runtime="openvino", precision="bf16"), Cache(tmp_path)
    ).is_checked


def test_check_on_few_images_is_not_cached(network_file: Path, photographs: Images, tmp_path: Path) -> None:
    network = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path))
    network(photographs[: MIN_IMAGES_TO_CACHE - 1])
    assert network.is_checked
    assert Cache(tmp_path).entries() == []


@pytest.mark.parametrize("fault", ["ignores its input", "swapped channels", "noise"])
def test_check_wrong_output_falls_back_to_keras(
    fault: str,
    network_file: Path,
    photographs: Images,
    keras_output: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = running.open_graph

    def faulty(*words: object) -> Run:
        run = opened(*words)  # type: ignore[arg-type]
        return {
            "ignores its input": lambda images: np.repeat(run(images[:1]), len(images), axis=0),
            "swapped channels": lambda images: run(images[..., ::-1].copy()),
            "noise": lambda images: run(images) + np.random.default_rng(0).normal(0, 0.05, (len(images), 5)),
        }[fault]

    monkeypatch.setattr(running, "open_graph", faulty)
    progress = RecordingProgress()
    network = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path), progress)
    np.testing.assert_allclose(network(photographs), keras_output, atol=1e-6)
    assert network.runtime == "keras"
    assert progress.warnings[0].startswith("falling back to Keras (slower) for the network: output of litert ")
    assert Cache(tmp_path).entries() == []
    assert network.save(tmp_path / "a.keras", tmp_path / "a.tflite") is False
    assert not (tmp_path / "a.tflite").exists()


@pytest.mark.parametrize("when", ["opened", "run", "opened from the cache"])
def test_graph_that_cannot_run_falls_back_to_keras(
    when: str,
    network_file: Path,
    photographs: Images,
    keras_output: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*words: object) -> Run:
        def run(images: Images) -> NDArray[np.float32]:
            raise RuntimeError("no such operation")

        if when == "run":
            return run
        raise ModelError("no such operation")

    cache = Cache(tmp_path)
    if when == "opened from the cache":
        CompiledNetwork.build(source(network_file), Inference(runtime="litert"), cache)(photographs)
    monkeypatch.setattr(running, "open_graph", fail)
    progress = RecordingProgress()
    network = CompiledNetwork.build(source(network_file), Inference(runtime="openvino"), cache, progress)
    np.testing.assert_allclose(network(photographs), keras_output, atol=1e-6)
    assert (network.runtime, network.width) == ("keras", 5)
    assert "no such operation" in progress.warnings[0]


def test_build_without_disk_space_falls_back_to_keras(
    network_file: Path,
    photographs: Images,
    keras_output: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*words: object, **others: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transfer_cli.inference.compiled_network.new_folder", fail)
    progress = RecordingProgress()
    network = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path), progress)
    np.testing.assert_allclose(network(photographs), keras_output, atol=1e-6)
    assert "No space left on device" in progress.warnings[0]


def test_build_failed_conversion_falls_back_to_keras(
    network_file: Path,
    photographs: Images,
    keras_output: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*words: object) -> None:
        raise ModelError("tiny could not be converted: no.")

    monkeypatch.setattr("transfer_cli.inference.litert_conversion.convert", fail)
    progress = RecordingProgress()
    network = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path), progress)
    np.testing.assert_allclose(network(photographs), keras_output, atol=1e-6)
    assert progress.warnings == ["falling back to Keras (slower) for the network: tiny could not be converted: no."]


@pytest.mark.parametrize("name", ["graph.tflite", "info.json"])
def test_build_damaged_cache_converts_again(name: str, network_file: Path, photographs: Images, tmp_path: Path) -> None:
    rows = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), Cache(tmp_path))(photographs)
    (path,) = tmp_path.rglob(name)
    data = path.read_bytes()[:-30]
    path.write_bytes(data)
    built: list[str] = []
    progress = RecordingProgress()
    network = CompiledNetwork.build(source(network_file, built), Inference(runtime="litert"), Cache(tmp_path), progress)
    assert np.array_equal(network(photographs), rows)
    assert built == ["built"]
    assert progress.warnings[0].endswith("was damaged: converting the network again")
    assert path.read_bytes() != data


def test_save_damaged_keras_file_in_cache_is_not_copied(
    network_file: Path, photographs: Images, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    CompiledNetwork.build(source(network_file), Inference(runtime="litert"), cache)(photographs)
    (path,) = cache.path.rglob("network.keras")
    path.write_bytes(path.read_bytes()[:-9])
    built: list[str] = []
    assert CompiledNetwork.build(source(network_file, built), Inference(runtime="litert"), cache).save(
        tmp_path / "a.keras", tmp_path / "a.tflite"
    )
    assert built == ["built"]
    load_keras(tmp_path / "a.keras")


def test_save_after_the_cache_was_cleared(network_file: Path, photographs: Images, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    rows = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), cache)(photographs)
    network = CompiledNetwork.build(source(network_file), Inference(runtime="litert"), cache)
    cache.clear()
    assert network.save(tmp_path / "a.keras", tmp_path / "a.tflite")
    np.testing.assert_allclose(running.open_graph("litert", tmp_path / "a.tflite")(photographs), rows, atol=1e-6)
