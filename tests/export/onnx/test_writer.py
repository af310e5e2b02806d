"""A network as an ONNX file: every operation of every backbone, and answers that are Keras's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from numpy.typing import NDArray

from tests.live_networks import alive, answers_to_its_input, outputs, sample_images
from transfer_cli.catalog import backbones
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.export.onnx.layers import KINDS
from transfer_cli.export.onnx.writer import IR_VERSION, OPSET, write_onnx
from transfer_cli.inference.formats.onnx import metadata_of, open_onnx
from transfer_cli.inference.runtime_parity import disagreement
from transfer_cli.inference.runtimes import LARGEST
from transfer_cli.models.backbone import build

Images = NDArray[np.uint8]
Tensor = keras.KerasTensor
SIDE, WIDTH = 9, 4
PRETRAINED = [
    name for name in backbones.names() if backbones.find(name).has_imagenet and ("@" not in name or "0.25" in name)
]

QUICK = ("efficientnet_b0", "mobilenet_v3_small")


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Images:
    return sample_images(shared / "data/clothing/test", 96)


def answers_of_keras(network: keras.Model, path: Path, images: Images) -> bool:
    """Return whether a file gives what Keras gives."""
    expected, given = outputs(network, images), open_onnx(path)(images)
    assert given.dtype == np.float32
    return disagreement(expected, given, classes=True) is None


@pytest.fixture(scope="module")
def network(photographs: Images) -> keras.Model:
    return alive(backbones.find("mobilenet@0.25"), photographs)


@pytest.fixture(scope="module")
def file(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    write_onnx(network, path, metadata={"classes": '["hat", "Größe"]', "temperature": "1.5"})
    return path


def test_answers_are_those_of_keras(network: keras.Model, file: Path, photographs: Images) -> None:
    assert answers_to_its_input(outputs(network, photographs))
    assert answers_of_keras(network, file, photographs)
    assert np.abs(open_onnx(file)(photographs) - outputs(network, photographs)).max() <= 1e-4


@pytest.mark.parametrize("fault", ["ignores its picture", "swapped channels", "a turned map"])
def test_a_file_of_something_else_does_not_pass(
    fault: str, network: keras.Model, photographs: Images, tmp_path: Path
) -> None:
    write_onnx(network, tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    first = model.graph.node[0]
    assert first.op_type == "Transpose"
    if fault == "a turned map":
        first.attribute[0].ints[:] = [0, 3, 2, 1]
    else:
        order = np.array([2, 1, 0] if fault == "swapped channels" else [0, 0, 0])
        model.graph.initializer.append(onnx.numpy_helper.from_array(order, "order"))
        name, first.output[0] = first.output[0], "turned"
        spoilt = onnx.helper.make_node("Gather", ["turned", "order"], [name], axis=1)
        if fault == "ignores its picture":
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(0), "nothing"))
            spoilt = onnx.helper.make_node("Mul", ["turned", "nothing"], [name])
        model.graph.node.insert(1, spoilt)
    onnx.save(model, tmp_path / "a.onnx")
    assert not answers_of_keras(network, tmp_path / "a.onnx", photographs)


def test_what_is_in_a_file(file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    assert metadata_of(file) == {"classes": '["hat", "Größe"]', "temperature": "1.5"}
    # The picture is turned once, not each map.
    assert [node.op_type for node in model.graph.node].count("Transpose") == 1


def test_rows_do_not_depend_on_their_neighbours(file: Path, photographs: Images) -> None:
    run = open_onnx(file)
    whole = run(photographs)
    for count in (1, 3, 7):
        parts = [run(photographs[at : at + count]) for at in range(0, len(photographs), count)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_a_network_that_gives_features(photographs: Images, tmp_path: Path) -> None:
    network = build(backbones.find("mobilenet@0.25"), weights="none", size=96, layer="conv_pw_3_relu", pooling="max")
    write_onnx(network, tmp_path / "a.onnx", output="features")
    given = open_onnx(tmp_path / "a.onnx", output="features")(photographs)
    np.testing.assert_allclose(given, outputs(network, photographs), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="expected one output probabilities"):
        open_onnx(tmp_path / "a.onnx")


def _scaled(scheme: str) -> Callable[[Tensor], Tensor]:
    return lambda maps: keras.applications.imagenet_utils.preprocess_input(maps, "channels_last", scheme)


def _with_activation(name: str) -> Callable[[Tensor], Tensor]:
    return lambda maps: layers.Conv2D(WIDTH, 1, activation=name)(maps * 0.05 - 3.0)


def _below_highest(rows: Tensor) -> Tensor:
    return rows - keras.ops.max(rows, axis=-1, keepdims=True)


def _features(maps: Tensor) -> Tensor:
    return layers.Conv2D(WIDTH, 3, name="features")(maps)


def _sequence(maps: Tensor) -> Tensor:
    return keras.Sequential([layers.Input((SIDE, SIDE, 3)), layers.Conv2D(WIDTH, 2), layers.LayerNormalization()])(maps)


def _nested(maps: Tensor) -> Tensor:
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, layers.Conv2D(WIDTH, 2)(layers.ZeroPadding2D(1)(inputs)))(maps)


def _scale_layers(maps: Tensor) -> Tensor:
    from keras.src.applications.convnext import LayerScale, StochasticDepth
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    maps = _features(maps)
    return CustomScaleLayer(0.3)([maps, StochasticDepth(0.2)(LayerScale(0.5, WIDTH)(maps))])


SMALL: dict[str, Callable[[Tensor], Tensor]] = {
    "tf": _scaled("tf"),
    "torch": _scaled("torch"),
    "caffe": _scaled("caffe"),
    "grey": lambda maps: keras.ops.image.rgb_to_grayscale(maps),
    "rescaled": lambda maps: layers.Rescaling([0.1, 0.2, 0.3], offset=-1.0)(maps),
    "normalised": lambda maps: layers.Normalization(mean=[9.0, 7.0, 3.0], variance=[2.0, 0.0, 4.0])(maps),
    "numbers on the left": lambda maps: 1.0 - keras.ops.divide(2.0, maps + 1.0),
    "conv same": lambda maps: layers.Conv2D(WIDTH, 3, padding="same", strides=2)(maps),
    "conv even window": lambda maps: layers.Conv2D(WIDTH, (2, 4), padding="same", strides=(1, 3))(maps),
    "conv dilated": lambda maps: layers.Conv2D(WIDTH, 3, padding="same", dilation_rate=2, use_bias=False)(maps),
    "conv in groups": lambda maps: layers.Conv2D(6, 3, groups=3)(maps),
    "depthwise": lambda maps: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)(maps),
    "separable": lambda maps: layers.SeparableConv2D(WIDTH, 3, depth_multiplier=2, padding="same", strides=2)(maps),
    "margin": lambda maps: layers.Conv2D(WIDTH, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (2, 3)))(maps)),
    "margin, then same": lambda maps: layers.Conv2D(WIDTH, 3, padding="same")(layers.ZeroPadding2D(2)(maps)),
    "margin, then pool": lambda maps: layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(2)(maps * -1.0)),
    "margin twice": lambda maps: layers.ZeroPadding2D(1)(layers.ZeroPadding2D(((1, 0), (0, 1)))(maps)),
    "cropped": lambda maps: layers.Cropping2D(((1, 0), (2, 3)))(maps),
    "max pool same": lambda maps: layers.MaxPooling2D(3, 2, padding="same")(maps * -1.0),
    "mean pool same": lambda maps: layers.AveragePooling2D(3, 2, padding="same")(maps),
    "mean of all": lambda maps: layers.GlobalAveragePooling2D(keepdims=True)(maps),
    "most of all": lambda maps: layers.GlobalMaxPooling2D()(maps),
    "batch norm": lambda maps: layers.BatchNormalization(center=False)(layers.BatchNormalization(scale=False)(maps)),
    "layer norm": lambda maps: layers.LayerNormalization(scale=False)(_features(maps)),
    "dense on maps": lambda maps: layers.Dense(WIDTH, use_bias=False)(layers.Dense(5)(maps)),
    "flat": lambda maps: layers.Dense(WIDTH)(layers.Flatten()(_features(maps))),
    "squeeze and excite": lambda maps: layers.Multiply()(
        [maps, layers.Reshape((1, 1, 3))(layers.GlobalAveragePooling2D()(maps))]
    ),
    "folded": lambda maps: layers.Reshape((SIDE * 3, SIDE, 1))(layers.Dropout(0.5)(maps)),
    "joined": lambda maps: layers.Concatenate(axis=2)([_features(maps), layers.Conv2D(WIDTH, 3)(maps)]),
    "joined rows": lambda maps: layers.Concatenate()([layers.Flatten()(maps), layers.GlobalMaxPooling2D()(maps)]),
    "both layouts": lambda maps: layers.Add()([maps, layers.Dense(3)(maps), layers.LayerNormalization()(maps)]),
    "scale layers": _scale_layers,
    "a sequence": _sequence,
    "a network within": _nested,
    "leaky": lambda maps: layers.ReLU(negative_slope=0.1)(maps - 90.0),
    "relu 6": lambda maps: layers.ReLU(max_value=6.0)(maps - 90.0),
    "logarithms": lambda maps: keras.ops.log(keras.ops.maximum(maps, 3.0)),
    "bounded": lambda maps: keras.ops.minimum(keras.ops.minimum(maps, 90.0), 120.0 - maps),
    "below the highest": lambda maps: _below_highest(layers.GlobalMaxPooling2D()(maps * -1.0)),
    "softmax of maps": lambda maps: layers.Activation("softmax")(_features(maps * 0.01)),
    **{
        name: _with_activation(name)
        for name in [
            "elu",
            "gelu",
            "hard_sigmoid",
            "hard_silu",
            "linear",
            "relu",
            "relu6",
            "sigmoid",
            "silu",
            "softmax",
            "tanh",
        ]
    },
}


def small(body: Callable[[Tensor], Tensor]) -> keras.Model:
    """Return a network of random weights, all of them: as they are drawn, shifts are zero and scales one."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    maps = body(keras.ops.cast(inputs, "float32"))
    network = keras.Model(inputs, layers.Flatten()(maps) if len(maps.shape) > 2 else maps, name="small")
    random = np.random.default_rng(4)
    for layer in network.layers:
        if not isinstance(layer, layers.Normalization):
            layer.set_weights(
                [random.uniform(0.2, 1, array.shape) - 0.5 * (array.ndim > 1) for array in layer.get_weights()]
            )
    return network


def reloaded(network: keras.Model, folder: Path) -> keras.Model:
    """Return a network as it comes out of a bundle, where tuples are lists."""
    network.save(folder / "network.keras")
    return keras.saving.load_model(folder / "network.keras", compile=False)


@pytest.mark.parametrize("again", [False, True], ids=["as built", "out of a file"])
@pytest.mark.parametrize("name", SMALL)
def test_operations(name: str, again: bool, tmp_path: Path) -> None:
    network = small(SMALL[name])
    network = reloaded(network, tmp_path) if again else network
    images = np.random.default_rng(2).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    expected = outputs(network, images)
    write_onnx(network, tmp_path / "a.onnx")
    given = open_onnx(tmp_path / "a.onnx")(images)
    scale = np.abs(expected).max()
    assert expected.std(axis=0).max() > 1e-3 * scale
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5 * scale)


def test_every_operation_is_tried() -> None:
    def kinds(network: keras.Model) -> set[str]:
        found = set()
        for operation in network.layers if isinstance(network, keras.Sequential) else network.operations:
            found |= kinds(operation) if isinstance(operation, keras.Model) else {type(operation).__name__}
        return found

    tried = set().union(*(kinds(small(body)) for body in SMALL.values()))
    assert set(KINDS) <= tried


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda maps: layers.UpSampling2D(2)(maps), "is a UpSampling2D"),
        (lambda maps: layers.Activation("mish")(maps), "has the activation mish"),
        (lambda maps: layers.BatchNormalization(axis=1)(maps), "normalises axis 1"),
        (lambda maps: layers.LayerNormalization(axis=(1, 2, 3))(maps), r"normalises axes \[1, 2, 3\]"),
        (lambda maps: layers.ReLU(threshold=1.0)(maps), "a ReLU with a threshold"),
        (lambda maps: maps[:, 1:, 1:, :], "of a tensor"),
        (lambda maps: maps + np.ones((SIDE, SIDE, 3), np.float32), "meets maps of shape"),
        (lambda maps: keras.ops.cast(maps, "int32"), "casts to int32"),
        (lambda maps: layers.Normalization(mean=1.0, variance=2.0, axis=None, invert=True)(maps), "inverts"),
    ],
)
def test_an_operation_that_is_not_known(body: Callable[[Tensor], Tensor], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"^small cannot be written as ONNX: .*{words}"):
        write_onnx(small(body), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_not_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transfer_cli.export.onnx.writer.OPSET", 16)
    with pytest.raises(ModelError, match=r"the graph is not valid: .*LayerNormalization"):
        write_onnx(small(SMALL["layer norm"]), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_too_large(tmp_path: Path) -> None:
    network = small(_features)
    network.count_params = lambda: 2**29
    with pytest.raises(ModelError, match=r"536,870,912 parameters; an ONNX file holds 2 GB"):
        write_onnx(network, tmp_path / "a.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_not_installed(package: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=f"needs the package {package}, which is not installed") as caught:
        open_onnx(file)
    assert caught.value.hint == "Install it: pip install 'transfer-cli[onnx]'."


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PRETRAINED],
)
def test_every_backbone(name: str, photographs: Images, tmp_path: Path) -> None:
    images = photographs if backbones.find(name).minimum > 64 else photographs[:, 16:80, 16:80].copy()
    network = alive(backbones.find(name), images)
    assert answers_to_its_input(outputs(network, images))
    # The largest are held once: two of them and two files are more than a small machine has.
    small_enough = network.count_params() < LARGEST
    write_onnx(reloaded(network, tmp_path) if small_enough else network, tmp_path / "a.onnx")
    assert answers_of_keras(network, tmp_path / "a.onnx", images)
