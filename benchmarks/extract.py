"""Feature extraction of a folder from end to end: transfer-cli, the usual Keras code, and the limit.

    python benchmarks/extract.py ../shared/data/clothing
    python benchmarks/extract.py ../shared/data/clothing --width 4000 --height 3000 --count 64 --networks mobilenet_v2

transfer-cli: `extract --classifier none` into a new run, with everything that it writes; the network is converted
before. Keras: `image_dataset_from_directory` (`ImageDataGenerator` above two megapixels) and `model.predict`; the model
is built before. Limit: the time of the decoder alone plus that of the runtime on tensors in memory. The weights are
random, with BatchNorm statistics of real images, which does not change the time.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import measuring
import numpy as np

from transfer_cli.quiet_imports import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from transfer_cli.catalog.backbones import find  # noqa: E402
from transfer_cli.data.image_batches import batches  # noqa: E402
from transfer_cli.data.image_folder import ImageFolder  # noqa: E402
from transfer_cli.inference.compiled_network import CompiledNetwork  # noqa: E402
from transfer_cli.inference.network_sources import backbone_source  # noqa: E402
from transfer_cli.io.cache import Cache  # noqa: E402
from transfer_cli.models import backbone  # noqa: E402
from transfer_cli.recipe.recipes import ExtractRecipe  # noqa: E402
from transfer_cli.recipe.sections import Inference  # noqa: E402
from transfer_cli.runs.request import TrainingRequest  # noqa: E402
from transfer_cli.runs.run_directory import RunDirectory  # noqa: E402
from transfer_cli.training.extract import extract  # noqa: E402

warnings.filterwarnings("ignore", category=DeprecationWarning)
NETWORKS = [
    "mobilenet@0.25",
    "mobilenet_v2",
    "mobilenet_v2:bf16",
    "efficientnet_b0",
    "efficientnet_b0:openvino",
    "resnet50",
    "resnet50:openvino",
    "resnet50:bf16",
]
RUNTIMES = {"litert": ("litert", "f32"), "openvino": ("openvino", "f32"), "bf16": ("openvino", "bf16")}


def main() -> None:
    """Print images/s per network."""
    options = measuring.arguments(__doc__, networks=NETWORKS, count=1200, width=500, height=375)
    large = options.width * options.height > 2e6
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = measuring.make_images(
            options.photographs, Path(place) / "images", options.count, options.width, options.height
        )
        for setting in options.networks:
            name, _, runtime = setting.partition(":")
            few = options.count // 3 if name.startswith("resnet") else options.count
            part = first_images(folder, Path(place) / f"part-{few}", few)
            rows.append(measure(Path(place), part, name, runtime or "litert", options.rounds, large))
    measuring.report(f"extract, images/s, {options.width} x {options.height}", rows, options.json)


def first_images(folder: Path, target: Path, count: int) -> Path:
    """Return a folder with the first images of another."""
    for path in sorted(folder.rglob("*.jpg"), key=lambda path: path.name)[:count]:
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        if not (target / path.parent.name / path.name).exists():
            shutil.copy(path, target / path.parent.name)
    return target


def measure(place: Path, folder: Path, name: str, setting: str, rounds: int, large: bool) -> dict[str, Any]:
    """Return the row of one network."""
    runtime, precision = RUNTIMES[setting]
    spec = find(name)
    images = ImageFolder.scan(folder)
    paths = [str(folder / file.path) for file in images.files]
    decoded = np.concatenate([batch.images for batch in read(paths, spec.size)])
    network, weights = scaled(spec, decoded[:32], place)
    overrides = [f"backbone.name={name}", f"backbone.weights={weights}", "classifier.name=none"]
    overrides += [f"inference.runtime={runtime}", f"inference.precision={precision}"]
    recipe = ExtractRecipe.load(None, overrides)
    cache, run = Cache(place / "cache"), place / "run"
    source = backbone_source(spec, recipe.backbone, spec.size)
    compiled = CompiledNetwork.build(source, Inference(runtime=runtime, precision=precision), cache)
    compiled(decoded[:32])
    assert compiled.runtime == runtime, "the outputs of the graph differ from those of Keras"
    peer = plain(spec, network)
    peer.predict(preprocessed(spec, decoded[:32].astype(np.float32)), verbose=0)

    def own() -> None:
        extract(TrainingRequest(images, RunDirectory(run), cache=cache), recipe)

    def theirs() -> None:
        (by_generator if large else by_dataset)(spec, peer, folder)

    def decoder() -> None:
        for _ in read(paths, spec.size):
            pass

    def bare() -> None:
        for start in range(0, len(decoded), 32):
            compiled(decoded[start : start + 32])

    def cleared() -> None:
        cache.clear("features")
        shutil.rmtree(run, ignore_errors=True)

    ways = {
        "cleared": cleared,
        "plain Keras": theirs,
        "again": cleared,
        "transfer-cli": own,
        "decoder": decoder,
        "bare": bare,
    }
    seconds = {way: measuring.median(values) for way, values in measuring.alternate(ways, rounds).items()}
    count = len(paths)
    limit = seconds["decoder"] + seconds["bare"]
    return {
        "network": name,
        "runtime": f"{runtime} {precision}",
        "images": count,
        "plain Keras": count / seconds["plain Keras"],
        "transfer-cli": count / seconds["transfer-cli"],
        "decoder alone": count / seconds["decoder"],
        "runtime alone": count / seconds["bare"],
        "limit": count / limit,
        "ratio to plain Keras": seconds["plain Keras"] / seconds["transfer-cli"],
        "ratio to the limit": limit / seconds["transfer-cli"],
    }


def read(paths: list[str], size: int) -> Any:
    """Return the batches of transfer-cli's decoder."""
    return batches(paths, size=size, resize="squash", batch_size=32)


def scaled(spec: Any, images: Any, place: Path) -> tuple[Any, Path]:
    """Return a network with rescaled random weights, and the file of these weights."""
    network = backbone.build(spec, weights="none")
    backbone.rescale_random_batchnorms(network, images)
    peer = plain(spec, network)
    path = place / f"{spec.name}.weights.h5"
    keras.Model(peer.inputs, peer.layers[-2].output).save_weights(path)
    return network, path


def plain(spec: Any, network: Any) -> Any:
    """Return the network as the Keras documentation builds it, with the same weights."""
    width = {"alpha": spec.alpha} if spec.alphas else {}
    factory = getattr(keras.applications, spec.factory)
    peer = factory(weights=None, include_top=False, pooling="avg", input_shape=(spec.size, spec.size, 3), **width)
    peer.set_weights(network.get_weights())
    return peer


def preprocessed(spec: Any, images: Any) -> Any:
    """Return images preprocessed for the network of keras.applications."""
    return importlib.import_module(f"keras.applications.{spec.module}").preprocess_input(images)


def by_dataset(spec: Any, peer: Any, folder: Path) -> None:
    """Compute features with image_dataset_from_directory and model.predict."""
    images = keras.utils.image_dataset_from_directory(
        folder, labels=None, image_size=(spec.size, spec.size), batch_size=32, shuffle=False, verbose=False
    )
    preprocess = importlib.import_module(f"keras.applications.{spec.module}").preprocess_input
    peer.predict(images.map(lambda x: preprocess(x)).prefetch(tf.data.AUTOTUNE), verbose=0)


def by_generator(spec: Any, peer: Any, folder: Path) -> None:
    """Compute features with ImageDataGenerator and model.predict."""
    flow = tf.keras.preprocessing.image.ImageDataGenerator(
        preprocessing_function=lambda x: preprocessed(spec, x)
    ).flow_from_directory(folder, target_size=(spec.size, spec.size), batch_size=32, shuffle=False, class_mode=None)
    peer.predict(flow, verbose=0)


if __name__ == "__main__":
    main()
