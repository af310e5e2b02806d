"""A network of the user's own: what it computes, where it is cut, and each kind of file that is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from tests.own_networks import SIDE, functional, maps_of, nested, save, use_weights_of
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import ModelError
from transfer_cli.models.backbone import build
from transfer_cli.models.weights.network_file import NetworkFile

IMAGES = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def features(path: Path, preprocess: str, layer: str | None = None, **options: Any) -> tuple[list[str], NDArray[Any]]:
    spec = NetworkFile.read(path).spec(str(path), preprocess)
    network = build(spec, weights="file", size=SIDE, layer=layer, **options)
    return [each.name for each in network.layers], network(IMAGES).numpy()


def pooled(network: keras.Model, layer: str, scaled: Any) -> NDArray[Any]:
    maps = keras.Model(network.inputs[0], network.get_layer(layer).output)(scaled)
    return np.asarray(maps).mean((1, 2))


def test_a_nested_network_is_dissolved_and_cut_below_its_head(tmp_path: Path) -> None:
    keras.backend.clear_session()  # Keras numbers the layers of a session
    network = nested()
    names, computed = features(save(network, tmp_path), "inside")
    # Augmentation is left out, the second layer "conv" has another name, and the head is gone.
    assert names == ["images", "rescaling", "conv", "batch_normalization", "base_conv", "last_map", "avg_features"]
    base = network.get_layer("last_map")(network.get_layer("base")(IMAGES / 127.5 - 1)).numpy()
    np.testing.assert_allclose(computed, base.mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    ("preprocess", "scaled"),
    [
        ("inside", lambda x: x),
        ("0-1", lambda x: x / 255),
        ("-1-1", lambda x: x / 127.5 - 1),
        ("tf", lambda x: x / 127.5 - 1),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_images_are_scaled_as_asked_for(preprocess: str, scaled: Callable[..., Any], tmp_path: Path) -> None:
    network = functional(lambda images: layers.Conv2D(3, 1, use_bias=False)(images))
    network.layers[-1].set_weights([np.eye(3, dtype=np.float32)[None, None]])
    _, computed = features(save(network, tmp_path), preprocess)
    np.testing.assert_allclose(computed, scaled(IMAGES.astype(np.float64)).mean((1, 2)), rtol=1e-4, atol=1e-4)


def test_a_layer_and_a_pooling_of_ones_own(tmp_path: Path) -> None:
    network = functional(lambda images: layers.Dense(5, name="row")(layers.Flatten()(maps_of(images))))
    path = save(network, tmp_path)
    np.testing.assert_allclose(features(path, "0-1", "row")[1], network(IMAGES / 255.0), atol=1e-4)
    first = network.layers[1].name
    np.testing.assert_allclose(features(path, "0-1", first)[1], pooled(network, first, IMAGES / 255.0), atol=1e-5)
    assert features(path, "0-1", pooling="flatten")[1].shape == (3, 16 * 16 * 8)


HEADS = {
    "pooled to one pixel": lambda maps: layers.Conv2D(6, 1)(layers.GlobalAveragePooling2D(keepdims=True)(maps)),
    "a decoder": lambda maps: layers.Conv2DTranspose(3, 3)(
        layers.Reshape((1, 1, 8))(layers.GlobalMaxPooling2D()(maps))
    ),
    "operators": lambda maps: layers.Dense(2)(keras.ops.mean(maps * 1.0, axis=(1, 2))),
    "used twice": lambda maps: layers.Flatten()(maps),
    "none": lambda maps: maps,
}


@pytest.mark.parametrize("head", HEADS)
def test_the_last_feature_map_is_the_one_below_the_head(head: str, tmp_path: Path) -> None:
    shared = layers.ReLU()  # without weights, and used twice
    network = functional(lambda images: HEADS[head](shared(maps_of(shared(images)))))
    _, computed = features(save(network, tmp_path), "0-1")
    maps = keras.Model(network.inputs[0], network.layers[4].output)(IMAGES / 255.0).numpy()
    np.testing.assert_allclose(computed, np.maximum(maps, 0).mean((1, 2)), atol=1e-5)


class Doubled(layers.Layer):  # type: ignore[misc]
    def call(self, images: Any) -> Any:
        return images * 2


class Subclass(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = layers.Conv2D(2, 3)

    def call(self, images: Any) -> Any:
        return self.conv(images)


def two_inputs() -> keras.Model:
    one, two = keras.Input((SIDE, SIDE, 3)), keras.Input((SIDE, SIDE, 3))
    return keras.Model([one, two], layers.Conv2D(2, 3)(layers.Add()([one, two])))


def two_outputs() -> keras.Model:
    images = keras.Input((SIDE, SIDE, 3))
    maps = maps_of(images)
    return keras.Model(images, {"maps": maps, "row": layers.Flatten()(maps)})


def reused() -> keras.Model:
    conv = layers.Conv2D(3, 3, padding="same", name="twice")
    return functional(lambda images: conv(conv(images)))


def in_subclass() -> keras.Model:
    network = Subclass()
    network(np.zeros((1, SIDE, SIDE, 3), np.float32))
    return network


REFUSED: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "two inputs": (two_inputs, "has 2 inputs"),
    "two outputs": (two_outputs, "has 2 outputs"),
    "channels first": (
        lambda: functional(lambda images: layers.Flatten()(images), 3, SIDE, SIDE),
        r"expects channels first: its input has the shape \(3, 32, 32\)",
    ),
    "a layer with channels first": (
        lambda: functional(lambda images: layers.GlobalMaxPooling2D("channels_first")(maps_of(images))),
        "data_format='channels_first'",
    ),
    "grey images": (lambda: functional(maps_of, SIDE, SIDE, 1), r"takes grayscale images \(1 channel\)"),
    "four channels": (lambda: functional(maps_of, SIDE, SIDE, 4), "images with 4 channels"),
    "oblong images": (lambda: functional(maps_of, SIDE, 48, 3), "images of 48 x 32 pixels"),
    "no images": (lambda: functional(lambda rows: layers.Dense(2)(rows), 784), r"inputs of shape \(784,\)"),
    "a Lambda layer": (
        lambda: functional(lambda images: maps_of(layers.Lambda(lambda each: each / 255)(images))),
        r"\(Lambda\) holds Python code, which is never run",
    ),
    "a layer of one's own": (
        lambda: functional(lambda images: maps_of(Doubled()(images))),
        r"\(Doubled\) is custom code .*, which is never run",
    ),
    "a function of one's own": (
        lambda: functional(lambda images: layers.Activation(abs_of)(maps_of(images))),
        "its function abs_of is custom code",
    ),
    "a subclass of Model": (in_subclass, "its class 'Subclass' is custom code"),
    "vectors only": (
        lambda: functional(lambda images: layers.Dense(2)(layers.Flatten()(layers.Rescaling(0.1)(images)))),
        "has no feature map",
    ),
    "noise above weights": (
        lambda: functional(lambda images: layers.GaussianNoise(0.1)(maps_of(images))),
        r"\(GaussianNoise\) is random, and is above layers with weights",
    ),
    "augmentation above weights": (
        lambda: functional(lambda images: layers.RandomFlip()(maps_of(images))),
        r"\(RandomFlip\) is random",
    ),
    "a crop": (
        lambda: functional(lambda images: maps_of(layers.RandomCrop(20, 20)(images))),
        r"\(RandomCrop\) changes the size of the images",
    ),
    "weights used twice": (reused, "its layer twice is used several times with the same weights"),
    "upsampling": (
        lambda: functional(lambda images: layers.UpSampling2D()(maps_of(images))),
        r"keras\.layers\.UpSampling2D, which is not an accepted layer",
    ),
}


def abs_of(maps: Any) -> Any:
    return keras.ops.absolute(maps)


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_used_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    path = save(make(), tmp_path)
    with pytest.raises(ModelError, match=message) as refused:
        features(path, "0-1")
    assert str(path) in str(refused.value)


def rewrite(path: Path, member: str, data: bytes) -> Path:
    """Replace one member of a Keras file."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, member: data}.items():
            archive.writestr(name, content)
    return path


def config_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def test_files_that_are_no_keras_3_network_are_named(tmp_path: Path) -> None:
    network = nested()
    good = save(network, tmp_path)
    network.save_weights(tmp_path / "own.weights.h5")
    network.save(tmp_path / "own.h5")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"\x08\x01")
    (tmp_path / "renamed.keras").write_bytes((tmp_path / "own.weights.h5").read_bytes())
    (tmp_path / "torn.keras").write_bytes(good.read_bytes()[:-200])
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x0a")
    old = rewrite(save(network, tmp_path, "old.keras"), "metadata.json", b'{"keras_version": "2.15.0"}')
    expected = {
        "own.weights.h5": "holds weights only",
        "renamed.keras": "holds weights only",
        "own.h5": "in HDF5, the format of Keras 2",
        "saved": "is a SavedModel",
        "torn.keras": "could not be read as a zip file",
        "empty.keras": "is empty",
        "net.onnx": "is an ONNX file",
        "gone.keras": "There is no network file",
        old.name: "was saved by Keras 2.15.0",
    }
    for name, message in expected.items():
        with pytest.raises(ModelError, match=message):
            NetworkFile.read(tmp_path / name)
    # Control: the file itself is read, with the size of its images and without the state of its optimizer.
    assert (NetworkFile.read(good).size, NetworkFile.read(good).parameters) == (SIDE, network.count_params())


def test_a_planted_class_is_not_built(tmp_path: Path) -> None:
    """A file that names a function of Keras which loads code is refused before Keras opens it."""
    path = save(functional(maps_of), tmp_path)
    config = config_of(path)
    layer = next(each for each in config["config"]["layers"] if each["class_name"] == "Conv2D")
    layer |= {"class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp/evil"}}
    rewrite(path, "config.json", json.dumps(config).encode())
    with pytest.raises(ModelError, match=r"its layer x \(TFSMLayer\) is not supported"):
        NetworkFile.read(path)
    config["config"]["layers"] = 7
    rewrite(path, "config.json", json.dumps(config).encode())
    with pytest.raises(ModelError, match="its configuration is not that of a network"):
        NetworkFile.read(path)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        path = save(functional(maps_of), tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    assert features(path, "0-1")[1].dtype == np.float32


def test_the_input_size_is_that_of_the_file_or_of_the_recipe(tmp_path: Path) -> None:
    fixed, free = (
        NetworkFile.read(save(functional(maps_of, side, side, 3), tmp_path, f"{side}.keras")).spec("own.keras", "tf")
        for side in (SIDE, None)
    )
    assert (fixed.input_size(None), fixed.input_size(SIDE), free.input_size(48)) == (SIDE, SIDE, 48)
    with pytest.raises(ModelError, match=r"takes images of 32 x 32 pixels\. Received: images\.size = 48"):
        fixed.input_size(48)
    with pytest.raises(ModelError, match=r"takes images of any size: \(None, None, 3\)"):
        free.input_size(None)


@pytest.mark.integration
@pytest.mark.parametrize("top", [False, True], ids=["below the head", "with the head"])
def test_features_equal_those_of_the_catalog(
    top: bool, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_weights_of(shared / "keras_home", monkeypatch)
    images = np.random.default_rng(1).integers(0, 256, (4, 224, 224, 3), np.uint8)
    path = save(keras.applications.MobileNet(alpha=0.25, include_top=top, input_shape=(224, 224, 3)), tmp_path)
    own = build(NetworkFile.read(path).spec(str(path), "tf"), weights="file", size=224)
    np.testing.assert_allclose(own(images), build(find("mobilenet@0.25"))(images), atol=1e-5)


@pytest.mark.parametrize(("preprocess", "scale"), [("inside", 1.0), ("0-1", 255.0)])
def test_operations_of_the_file_may_have_the_names_of_those_that_scale_the_images(
    preprocess: str, scale: float, tmp_path: Path
) -> None:
    """A model that `export` wrote begins by the same operations as the networks of this program."""
    keras.backend.clear_session()
    images = keras.Input((SIDE, SIDE, 3))
    network = keras.Model(images, maps_of(keras.ops.cast(images, "float32") / 255.0 - 0.5))
    _, computed = features(save(network, tmp_path), preprocess)
    np.testing.assert_allclose(computed, network(IMAGES / scale).numpy().mean((1, 2)), atol=1e-5)
