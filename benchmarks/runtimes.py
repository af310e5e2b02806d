"""Speed of the runtimes, by number of interpreters, threads and images per call; and the time of the conversion.

    python benchmarks/runtimes.py ../shared/data/clothing

Measured on uint8 tensors in memory. A conversion pays off from N images: its time divided by the time that LiteRT saves
per image compared with Keras (a `tf.function`, as in transfer-cli).
"""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import measuring
import numpy as np

from transfer_cli.quiet_imports import captured_native_stderr, import_tensorflow

import_tensorflow()

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from transfer_cli.catalog.backbones import find  # noqa: E402
from transfer_cli.data.image_batches import batches  # noqa: E402
from transfer_cli.inference import runtimes  # noqa: E402
from transfer_cli.inference.litert_conversion import convert  # noqa: E402
from transfer_cli.models import backbone  # noqa: E402
from transfer_cli.models.compile import inference_function  # noqa: E402

Run = Callable[[Any], Any]
NETWORKS = ["mobilenet@0.25", "mobilenet_v2", "efficientnet_b0", "resnet50"]
BATCHES = (1, 2, 4, 8, 32)


def main() -> None:
    """Print a table of LiteRT settings, and one of the runtimes."""
    options = measuring.arguments(__doc__, networks=NETWORKS, count=64)
    settings, comparison = [], []
    paths = sorted(map(str, options.photographs.rglob("*.jpg")))[: options.count]
    for name in options.networks:
        spec = find(name)
        read = batches(paths, size=spec.size, resize="squash", batch_size=32)
        images = np.concatenate([batch.images for batch in read if len(batch.images) == 32])
        network = backbone.build(spec, weights="none")
        backbone.rescale_random_batchnorms(network, images[:32])
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "graph.tflite"
            began = time.perf_counter()
            convert(network, path)
            conversion = time.perf_counter() - began
            began = time.perf_counter()
            with captured_native_stderr():
                network.export(Path(place) / "export.tflite", format="litert", verbose=False)
            export = time.perf_counter() - began
            for count, threads in ((1, 1), (1, 2), (2, 1)):
                row: dict[str, Any] = {"network": name, "interpreters": f"{count} of {threads} threads"}
                ways = {f"{size} per call": litert(path, count, threads, size) for size in BATCHES}
                settings.append(row | rates(ways, images, options.rounds))
            keras = inference_function(network)
            ways = {
                "Keras": lambda some, keras=keras: [keras(some[at : at + 32]) for at in range(0, len(some), 32)],
                "LiteRT": runtimes.open_graph("litert", path),
                "OpenVINO f32": runtimes.open_graph("openvino", path),
                "OpenVINO bf16": runtimes.open_graph("openvino", path, "bf16"),
            }
            speeds = rates(ways, images, options.rounds)
            pays_off = conversion / (1 / speeds["Keras"] - 1 / speeds["LiteRT"])
            costs = {"conversion, s": conversion, "model.export, s": export, "pays off from": round(pays_off)}
            comparison.append({"network": name, **speeds, **costs})
    measuring.report("LiteRT, images/s", settings, None)
    print()
    measuring.report("runtimes, images/s", comparison, options.json)


def rates(ways: dict[str, Run], images: Any, rounds: int) -> dict[str, float]:
    """Return the images/s of each function."""
    for way in ways.values():
        way(images[:32])
    calls = {name: (lambda way=way: way(images)) for name, way in ways.items()}
    seconds = measuring.alternate(calls, rounds)
    return {name: len(images) / measuring.median(values) for name, values in seconds.items()}


def litert(path: Path, count: int, threads: int, size: int) -> Run:
    """Return a function that runs images on several interpreters, `size` per call."""
    free: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for _ in range(count):
        free.put(interpreter(path, threads, size))

    def one(images: Any) -> Any:
        run = free.get()
        rows = run(images)
        free.put(run)
        return rows

    def all_of(images: Any) -> None:
        parts = [images[at : at + size] for at in range(0, len(images) - len(images) % size, size)]
        if count == 1:
            for part in parts:
                one(part)
            return
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(one, parts))

    return all_of


def interpreter(path: Path, threads: int, size: int) -> Run:
    """Return a LiteRT interpreter for batches of one size."""
    with captured_native_stderr():
        opened = Interpreter(str(path), num_threads=threads)
        details = opened.get_input_details()[0]
        opened.resize_tensor_input(details["index"], [size, *details["shape"][1:]])
        opened.allocate_tensors()
    result = opened.get_output_details()[0]["index"]

    def run(images: Any) -> Any:
        opened.set_tensor(details["index"], images)
        opened.invoke()
        return opened.get_tensor(result)

    return run


if __name__ == "__main__":
    main()
