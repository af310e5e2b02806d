"""Hostile bundles with correct digests: each check refuses its own kind, and nothing in them is executed."""

from __future__ import annotations

import io
import json
import operator
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from tests.hostile_files import Payload, copied, members_of, reseal, with_json, with_member, zip_of
from transfer_cli import load
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.calibration.rejection import Rejection
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import ModelError
from transfer_cli.inference.reject import Rejector
from transfer_cli.inference.verify_bundle import unlisted_files, verify
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.keras_config import INITIALIZERS, LAYERS
from transfer_cli.models.keras_file import load_keras

LOADERS: dict[str, Callable[[Path], object]] = {
    "backbone.keras": load_keras,
    "network.keras": load_keras,
    "classifier.skops": fit.load,
    "linear.npz": Linear.load,
    "rejection.npz": Rejection.load,
    "training_images.npz": TrainingImages.load,
}
Plant = Callable[[Path, Path], None]
"""Plants something hostile in a file; if executed, it would create the second path."""

WIDTH = 16 + 32 + 64 + 128 + 256
"""Number of features of the trained run."""


def pickled_array(path: Path, marker: Path) -> None:
    with np.load(path) as arrays:
        given = dict(arrays)
    first = next(iter(given))
    np.savez(path, **{**given, first: np.array([Payload(marker)], object)})


def raw_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(marker)))


def more(name: str, path: Path, marker: Path) -> None:
    path.write_bytes(zip_of({**members_of(path), name: b"x"}))


def bomb(path: Path, marker: Path) -> None:
    first, *others = members_of(path)
    kept = dict.fromkeys(others, b"")
    path.write_bytes(zip_of({first: bytes(50_000_000), **kept}, compression=zipfile.ZIP_DEFLATED))


def hdf5(path: Path, marker: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1.0]


def configured(change: Callable[[dict[str, Any]], Any], path: Path, marker: Path) -> None:
    with_json(path, "config.json", change)


def layer(change: dict[str, Any], config: dict[str, Any]) -> None:
    """Change the second layer of a network."""
    config["config"]["layers"][1] |= change


def activation(value: object, config: dict[str, Any]) -> None:
    """Give the first convolution another activation."""
    first = next(each for each in config["config"]["layers"] if each["class_name"] == "Conv2D")
    first["config"]["activation"] = value


def compiled(config: dict[str, Any]) -> None:
    config["compile_config"] = {"optimizer": "adam"}


def whole(value: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return value


def deep(data: bytes) -> bytes:
    return b"[" * 1_000_000


def weights(change: Callable[[Any], object], path: Path, marker: Path) -> None:
    """Change the weights file of a network."""

    def changed(data: bytes) -> bytes:
        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            change(file)
        return buffer.getvalue()

    with_member(path, "model.weights.h5", changed)


def external_link(file: Any) -> None:
    file["layers/stranger"] = h5py.ExternalLink("/etc/stranger.h5", "/")


def soft_link(file: Any) -> None:
    file["layers/stranger"] = h5py.SoftLink("/layers")


def circle(file: Any) -> None:
    file["layers/stranger"] = file["layers"]


def external_storage(file: Any) -> None:
    file.create_dataset("layers/stranger", (4,), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/stranger.h5", "x", (4,))
    file.create_virtual_dataset("layers/stranger", layout)


def shape_bomb(file: Any) -> None:
    file.create_dataset("layers/stranger", (10**12,), "f4", chunks=(1024,), compression="gzip")


def never_stored(file: Any) -> None:
    file.create_dataset("layers/stranger", (10**12,), "f4")


def objects_in_it(file: Any) -> None:
    file["layers/stranger"] = ["text"]


def skops_file(made: object, path: Path, marker: Path) -> None:
    skops.io.dump(made, path)


def reduced(path: Path, marker: Path) -> None:
    """Make a node of the file call a function, as an object with __reduce__ does."""

    def change(schema: dict[str, Any]) -> dict[str, Any]:
        words = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True, "__id__": 1}
        content = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "__id__": 2}
        content["content"] = [words | {"content": json.dumps(str(marker))}]
        made = {"__class__": "mkdir", "__module__": "os", "__loader__": "ConstructorFromReduceNode", "content": content}
        return {**made, "protocol": schema["protocol"], "_skops_version": schema["_skops_version"]}

    with_json(path, "schema.json", change)


def method(path: Path, marker: Path) -> None:
    """Name a method of an object; a check of the class alone would accept it."""

    def change(schema: dict[str, Any]) -> dict[str, Any]:
        whole = {word: schema.pop(word) for word in ("protocol", "_skops_version")}
        kind = {"__class__": schema["__class__"], "__module__": schema["__module__"], "__loader__": "MethodNode"}
        return {**kind, "content": {"func": "__init_subclass__", "obj": schema}, **whole}

    with_json(path, "schema.json", change)


def unnamed(schema: dict[str, Any]) -> None:
    del schema["__class__"]


KERAS: dict[str, tuple[Plant, str]] = {
    "a pickle": (raw_pickle, "could not be read as a zip file"),
    "HDF5, for which Keras has no safe mode": (hdf5, "could not be read as a zip file"),
    "up": (partial(more, "../x"), "is not a safe path"),
    "absolute": (partial(more, "/abs"), "is not a safe path"),
    "assets": (partial(more, "assets/x"), "is not expected there"),
    "pickled weights": (partial(more, "model.weights.npz"), "is not expected there"),
    "bomb": (bomb, "is compressed"),
    "nothing but a name": (lambda path, _: path.write_bytes(zip_of({"config.json": b"{}"})) and None, "it lacks"),
    "lambda": (
        partial(configured, partial(layer, {"module": "keras.layers", "class_name": "Lambda"})),
        r"uses keras\.layers\.Lambda",
    ),
    "lambda function": (
        partial(configured, partial(activation, {"class_name": "__lambda__", "config": {"value": "x"}})),
        "uses None.__lambda__",
    ),
    "os": (partial(configured, partial(layer, {"module": "os", "class_name": "system"})), r"uses os\.system"),
    "builtins": (
        partial(configured, partial(activation, {"module": "builtins", "class_name": "function", "config": "eval"})),
        r"uses builtins\.function",
    ),
    "get_file": (
        partial(configured, partial(layer, {"module": "keras.utils", "class_name": "get_file"})),
        r"uses keras\.utils\.get_file",
    ),
    "get_file as a function": (
        partial(
            configured,
            partial(activation, {"module": "keras.utils", "class_name": "function", "config": "get_file"}),
        ),
        r"uses keras\.utils\.function",
    ),
    "torch module": (
        partial(configured, partial(layer, {"module": "keras.layers", "class_name": "TorchModuleWrapper"})),
        "TorchModuleWrapper",
    ),
    "saved model": (
        partial(configured, partial(layer, {"module": "keras.layers", "class_name": "TFSMLayer"})),
        "TFSMLayer",
    ),
    "vocabulary from a file": (
        partial(configured, partial(layer, {"module": "keras.layers", "class_name": "StringLookup"})),
        "StringLookup",
    ),
    "no module, as in older files": (
        partial(configured, partial(layer, {"module": None, "class_name": "Dense"})),
        "uses None.Dense",
    ),
    "registered elsewhere": (
        partial(configured, partial(layer, {"registered_name": "stranger>Cast"})),
        "which is not an accepted layer or function",
    ),
    "a list for a name": (partial(configured, partial(layer, {"class_name": ["Cast"]})), "a class name is not text"),
    "enable_unsafe_deserialization": (
        partial(
            configured,
            partial(whole, {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}}),
        ),
        "does not describe a network",
    ),
    "how to train": (partial(configured, compiled), "it contains a training configuration"),
    "deep": (lambda path, _: with_member(path, "config.json", deep), "nested too deeply"),
    "external link": (partial(weights, external_link), r"layers/stranger is a link to another place \(ExternalLink\)"),
    "soft link": (partial(weights, soft_link), r"is a link to another place \(SoftLink\)"),
    "circle": (partial(weights, circle), "/layers/stranger occurs twice"),
    "external storage": (
        partial(weights, external_storage),
        "the values of /layers/stranger are stored in another file",
    ),
    "virtual": (partial(weights, virtual), "the values of /layers/stranger are stored in another file"),
    "shape bomb": (partial(weights, shape_bomb), "is not stored contiguously"),
    "never stored": (partial(weights, never_stored), "which differs from what is stored"),
    "text": (partial(weights, objects_in_it), "expected numbers"),
    "no HDF5": (lambda path, _: with_member(path, "model.weights.h5", lambda data: b"x"), "was refused"),
}
SKOPS: dict[str, tuple[Plant, str]] = {
    "a pickle": (raw_pickle, "could not be read as a zip file"),
    "up": (partial(more, "../x"), "is not a safe path"),
    "other": (partial(more, "x.pkl"), "is not expected there"),
    "bomb": (bomb, "is compressed"),
    "reduced": (reduced, r"os\.mkdir \(ConstructorFromReduceNode\)"),
    "method": (method, r"sklearn\.pipeline\.Pipeline \(MethodNode\)"),
    "attrgetter": (partial(skops_file, operator.attrgetter("x")), r"operator\.attrgetter \(OperatorFuncNode\)"),
    "function": (partial(skops_file, np.sqrt), r"numpy\.sqrt"),
    "partial": (partial(skops_file, partial(max, 1)), r"functools\.partial \(PartialNode\)"),
    "class": (partial(skops_file, Path), r"Path \(TypeNode\)"),
    "bare": (partial(skops_file, LogisticRegression()), "LogisticRegression"),
    "no class": (lambda path, _: with_json(path, "schema.json", unnamed), "sklearn.pipeline.None"),
    "deep": (lambda path, _: with_member(path, "schema.json", deep), "nested too deeply"),
    "empty": (lambda path, _: path.write_bytes(zip_of({"x.npy": b""})) and None, "schema.json"),
}
ARRAYS: dict[str, tuple[Plant, str]] = {
    "pickled array": (pickled_array, "not an array of numbers; no code in it was run"),
    "a pickle": (raw_pickle, "could not be read as a zip file"),
    "up": (partial(more, "../x.npy"), "is not a safe path"),
    "bomb": (bomb, "is compressed"),
}
CASES = [
    *(("trained", "backbone.keras", name, *KERAS[name]) for name in KERAS),
    *(("finetuned", "network.keras", name, *KERAS[name]) for name in ("lambda", "get_file", "external link", "bomb")),
    *(("trained", "classifier.skops", name, *SKOPS[name]) for name in SKOPS),
    *(
        ("trained", file, name, *ARRAYS[name])
        for file in ("linear.npz", "rejection.npz", "training_images.npz")
        for name in ARRAYS
    ),
]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("run", "file", "plant", "reason"),
    [pytest.param(run, file, plant, reason, id=f"{file}: {name}") for run, file, name, plant, reason in CASES],
)
def test_hostile_file_is_refused_and_not_executed(
    run: str, file: str, plant: Plant, reason: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    marker, bundle = tmp_path / "marker", copied(request.getfixturevalue(run), tmp_path / "bundle")
    plant(bundle / file, marker)
    reseal(bundle)
    for act in (partial(verify, bundle), partial(LOADERS[file], bundle / file)):
        with pytest.raises(ModelError, match=reason):
            act()
    # A fixture may have created the folder for Keras.
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "keras"}


@pytest.mark.parametrize("run", ["trained", "finetuned"])
def test_resealed_bundle_is_accepted(run: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Control: the planted content is refused, not the way in which the tests write it."""
    bundle = copied(request.getfixturevalue(run), tmp_path / "bundle")
    for path in [*bundle.glob("*.keras"), *bundle.glob("*.skops")]:
        path.write_bytes(zip_of(members_of(path)))
    reseal(bundle)
    (bundle / "notes.txt").write_text("mine")
    found = verify(bundle)
    assert unlisted_files(found.opened) == ("notes.txt",)
    assert found.label in found.opened.bundle.class_names
    graph, other = (name.split(" and ")[0] for name in (found.computed_by[0], found.computed_by[-1]))
    assert (graph, other) == ("graph.tflite", "backbone.keras" if run == "trained" else "network.keras")
    assert load(str(bundle)).class_names == found.opened.bundle.class_names


def test_payloads_are_executed_without_the_checks(trained: Path, tmp_path: Path) -> None:
    """Control: the planted payloads work when the files are loaded without the checks."""
    path, marker = tmp_path / "x.npz", tmp_path / "marker"
    path.write_bytes((trained / "model/linear.npz").read_bytes())
    pickled_array(path, marker)
    with np.load(path, allow_pickle=True) as arrays:
        dict(arrays)
    assert marker.is_dir()
    marker.rmdir()
    path = tmp_path / "x.skops"
    path.write_bytes((trained / "model/classifier.skops").read_bytes())
    reduced(path, marker)
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert marker.is_dir()
    marker.rmdir()
    keras_file = tmp_path / "x.keras"
    inputs = keras.Input((2,))
    made = keras.layers.Lambda(
        lambda x, place: (__import__("os").makedirs(place, exist_ok=True), x)[1], arguments={"place": str(marker)}
    )
    keras.Model(inputs, made(inputs)).save(keras_file)
    marker.rmdir()
    with pytest.raises(ModelError, match=r"uses keras\.layers\.Lambda"):
        load_keras(keras_file)
    assert not marker.exists()
    keras.saving.load_model(keras_file, safe_mode=False)
    assert marker.is_dir()


def graph_of(shape: tuple[int, ...], width: int, path: Path) -> None:
    from transfer_cli.inference.litert_conversion import convert

    inputs = keras.Input(shape, dtype="uint8")
    rows = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(inputs, "float32"))
    convert(keras.Model(inputs, keras.layers.Dense(width)(rows)), path)


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda data: b"\x80\x04K\x01.", "cannot be opened"),
        (lambda data: b"", "cannot be opened"),
        (lambda data: data[: len(data) // 2], "cannot be opened"),
        (lambda data: data[:8] + bytes(len(data) - 8), "cannot be opened"),
    ],
    ids=["pickle", "empty", "half", "zeros"],
)
def test_invalid_graph_is_refused(
    runtime: str, data: Callable[[bytes], bytes], reason: str, trained: Path, tmp_path: Path
) -> None:
    bundle = copied(trained, tmp_path / "bundle")
    recipe = json.loads((bundle / "bundle.json").read_text())["recipe"]
    (bundle / "graph.tflite").write_bytes(data((bundle / "graph.tflite").read_bytes()))
    reseal(bundle, recipe={**recipe, "inference": {"runtime": runtime, "precision": "f32"}})
    with pytest.raises(ModelError, match=rf"graph\.tflite {reason}"):
        load(str(bundle))


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_graph_with_wrong_input_or_output_is_refused(runtime: str, trained: Path, tmp_path: Path) -> None:
    bundle = copied(trained, tmp_path / "bundle")
    recipe = json.loads((bundle / "bundle.json").read_text())["recipe"]
    graph_of((40, 40, 3), WIDTH, bundle / "graph.tflite")
    reseal(bundle, recipe={**recipe, "inference": {"runtime": runtime, "precision": "f32"}})
    with pytest.raises(
        ModelError, match=r"has the input uint8 of shape \[-?1, 40, 40, 3\]\. Expected .* \[n, 32, 32, 3\]"
    ):
        load(str(bundle))
    graph_of((32, 32, 3), 5, bundle / "graph.tflite")
    reseal(bundle)
    model = load(str(bundle))
    with pytest.raises(ModelError, match=rf"shape \(2, {WIDTH}\)\. Received: \(2, 5\)"):
        model.predict_proba(np.zeros((2, 32, 32, 3), np.uint8))
    if runtime == "litert":
        # The shapes are right, but it is another network.
        graph_of((32, 32, 3), WIDTH, bundle / "graph.tflite")
        with pytest.raises(ModelError, match=r"graph\.tflite and backbone\.keras should contain the same network"):
            verify(reseal(bundle))


def test_arrays_with_wrong_shapes_are_refused(trained: Path, tmp_path: Path) -> None:
    bundle = copied(trained, tmp_path / "bundle")
    Linear(np.zeros((WIDTH, 2)), np.zeros(2)).save(bundle / "linear.npz")
    with pytest.raises(ModelError, match=r"linear\.npz is for 2 classes; the bundle has 3"):
        load(str(reseal(bundle)))
    Linear(np.zeros((7, 3)), np.zeros(3)).save(bundle / "linear.npz")
    with pytest.raises(ModelError, match=rf"shape \(1, 7\)\. Received: \(1, {WIDTH}\)"):
        load(str(reseal(bundle))).predict_proba(np.zeros((1, 32, 32, 3), np.uint8))
    bundle = copied(trained, tmp_path / "other")
    rejection = Rejection.load(bundle / "rejection.npz")
    Rejection(np.ones((4, 7), np.float16), *list(vars(rejection).values())[1:]).save(bundle / "rejection.npz")
    rejector = Rejector(load(str(reseal(bundle))), coverage=0.9)
    with pytest.raises(ModelError, match=f"was fitted on 7 features per image, but the network gives {WIDTH}"):
        rejector(np.zeros((1, 32, 32, 3), np.uint8))


def test_classifier_with_wrong_contents_is_refused(trained: Path, tmp_path: Path) -> None:
    """The class is trusted, but has contents that training never produces."""
    bundle = copied(trained, tmp_path / "bundle")
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    del files["linear.npz"]
    pipeline = fit.load(bundle / "classifier.skops")
    pipeline[-1].classes_ = np.array([0, 1, 7])
    fit.save(pipeline, bundle / "classifier.skops")
    files["classifier.skops"] = digest_of_file(bundle / "classifier.skops").model_dump()
    model = load(str(reseal(bundle, files=files)))
    with pytest.raises(ModelError, match=r"classifier\.skops could not be run"):
        model.predict_proba(np.zeros((1, 32, 32, 3), np.uint8))
    # Control: with its own classes it predicts.
    pipeline[-1].classes_ = np.array([0, 1, 2])
    fit.save(pipeline, bundle / "classifier.skops")
    files["classifier.skops"] = digest_of_file(bundle / "classifier.skops").model_dump()
    model = load(str(reseal(bundle, files=files)))
    assert model.predict_proba(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 3)


def test_trusted_layers_are_fixed_and_exist() -> None:
    assert all(issubclass(getattr(keras.layers, name), keras.layers.Layer) for name in LAYERS)
    assert all(issubclass(getattr(keras.initializers, name), keras.initializers.Initializer) for name in INITIALIZERS)
    assert not LAYERS & {
        "Lambda",
        "TorchModuleWrapper",
        "JaxLayer",
        "FlaxLayer",
        "TFSMLayer",
        "StringLookup",
        "Hashing",
    }
    assert len(LAYERS) == 32
