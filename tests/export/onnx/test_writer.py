"""ONNX files predict like Keras: every supported operation, and every backbone."""

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
from transfer_cli.export.onnx import writer
from transfer_cli.export.onnx.layers import KINDS
from transfer_cli.export.onnx.writer import IR_VERSION, OPSET, write_onnx
from transfer_cli.inference.formats.onnx import open_onnx, read_metadata
from transfer_cli.inference.runtime_parity import parity_fault
from transfer_cli.models.backbone import build

Images = NDArray[np.uint8]
Tensor = keras.KerasTensor
SIDE, WIDTH = 9, 4


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Images:
    return sample_images(shared / "data/clothing/test", 96)


def predicts_like_keras(network: keras.Model, path: Path, images: Images) -> bool:
    expected, predicted = outputs(network, images), open_onnx(path)(images)
    assert predicted.dtype == np.float32
    return parity_fault(expected, predicted, classes=True) is None


@pytest.fixture(scope="module")
def network(photographs: Images) -> keras.Model:
    return alive(backbones.find("mobilenet@0.25"), photographs)


@pytest.fixture(scope="module")
def file(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    write_onnx(network, path, metadata={"classes": '["hat", "Größe"]', "temperature": "1.5"})
    return path


def test_write_onnx_predicts_like_keras(network: keras.Model, file: Path, photographs: Images) -> None:
    assert answers_to_its_input(outputs(network, photographs))
    assert predicts_like_keras(network, file, photographs)
    assert np.abs(open_onnx(file)(photographs) - outputs(network, photographs)).max() <= 1e-4


@pytest.mark.parametrize("fault", ["input ignored", "channels swapped", "image transposed"])
def test_parity_fault_finds_a_changed_graph(
    fault: str, network: keras.Model, photographs: Images, tmp_path: Path
) -> None:
    write_onnx(network, tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    first = model.graph.node[0]
    assert first.op_type == "Transpose"
    if fault == "image transposed":
        first.attribute[0].ints[:] = [0, 3, 2, 1]
    else:
        order = np.array([2, 1, 0] if fault == "channels swapped" else [0, 0, 0])
        model.graph.initializer.append(onnx.numpy_helper.from_array(order, "order"))
        name, first.output[0] = first.output[0], "transposed"
        node = onnx.helper.make_node("Gather", ["transposed", "order"], [name], axis=1)
        if fault == "input ignored":
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(0), "zero"))
            node = onnx.helper.make_node("Mul", ["transposed", "zero"], [name])
        model.graph.node.insert(1, node)
    onnx.save(model, tmp_path / "a.onnx")
    assert not predicts_like_keras(network, tmp_path / "a.onnx", photographs)


def test_write_onnx_versions_metadata_and_layout(file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    assert read_metadata(file) == {"classes": '["hat", "Größe"]', "temperature": "1.5"}
    # The image is transposed once, and no feature map.
    assert [node.op_type for node in model.graph.node].count("Transpose") == 1


def test_open_onnx_batch_size_does_not_change_predictions(file: Path, photographs: Images) -> None:
    run = open_onnx(file)
    whole = run(photographs)
    for count in (1, 3, 7):
        batches = [run(photographs[start : start + count]) for start in range(0, len(photographs), count)]
        np.testing.assert_allclose(np.concatenate(batches), whole, atol=1e-6)


def test_write_onnx_features(photographs: Images, tmp_path: Path) -> None:
    network = build(backbones.find("mobilenet@0.25"), weights="none", size=96, layer="conv_pw_3_relu", pooling="max")
    write_onnx(network, tmp_path / "a.onnx")
    features = open_onnx(tmp_path / "a.onnx")(photographs)
    np.testing.assert_allclose(features, outputs(network, photographs), rtol=1e-4, atol=1e-5)


def _preprocessed(scheme: str) -> Callable[[Tensor], Tensor]:
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
    "tf": _preprocessed("tf"),
    "torch": _preprocessed("torch"),
    "caffe": _preprocessed("caffe"),
    "grayscale": lambda maps: keras.ops.image.rgb_to_grayscale(maps),
    "rescaling": lambda maps: layers.Rescaling([0.1, 0.2, 0.3], offset=-1.0)(maps),
    "normalization": lambda maps: layers.Normalization(mean=[9.0, 7.0, 3.0], variance=[2.0, 0.0, 4.0])(maps),
    "constants on the left": lambda maps: 1.0 - keras.ops.divide(2.0, maps + 1.0),
    "conv same": lambda maps: layers.Conv2D(WIDTH, 3, padding="same", strides=2)(maps),
    "conv even kernel": lambda maps: layers.Conv2D(WIDTH, (2, 4), padding="same", strides=(1, 3))(maps),
    "conv dilated": lambda maps: layers.Conv2D(WIDTH, 3, padding="same", dilation_rate=2, use_bias=False)(maps),
    "conv grouped": lambda maps: layers.Conv2D(6, 3, groups=3)(maps),
    "depthwise": lambda maps: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2)(maps),
    "separable": lambda maps: layers.SeparableConv2D(WIDTH, 3, depth_multiplier=2, padding="same", strides=2)(maps),
    "padding": lambda maps: layers.Conv2D(WIDTH, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (2, 3)))(maps)),
    "padding, then same": lambda maps: layers.Conv2D(WIDTH, 3, padding="same")(layers.ZeroPadding2D(2)(maps)),
    "padding, then pool": lambda maps: layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(2)(maps * -1.0)),
    "padding twice": lambda maps: layers.ZeroPadding2D(1)(layers.ZeroPadding2D(((1, 0), (0, 1)))(maps)),
    "cropping": lambda maps: layers.Cropping2D(((1, 0), (2, 3)))(maps),
    "max pool same": lambda maps: layers.MaxPooling2D(3, 2, padding="same")(maps * -1.0),
    "average pool same": lambda maps: layers.AveragePooling2D(3, 2, padding="same")(maps),
    "global average pool": lambda maps: layers.GlobalAveragePooling2D(keepdims=True)(maps),
    "global max pool": lambda maps: layers.GlobalMaxPooling2D()(maps),
    "batch norm": lambda maps: layers.BatchNormalization(center=False)(layers.BatchNormalization(scale=False)(maps)),
    "layer norm": lambda maps: layers.LayerNormalization(scale=False)(_features(maps)),
    "dense on maps": lambda maps: layers.Dense(WIDTH, use_bias=False)(layers.Dense(5)(maps)),
    "flatten": lambda maps: layers.Dense(WIDTH)(layers.Flatten()(_features(maps))),
    "squeeze and excite": lambda maps: layers.Multiply()(
        [maps, layers.Reshape((1, 1, 3))(layers.GlobalAveragePooling2D()(maps))]
    ),
    "reshape": lambda maps: layers.Reshape((SIDE * 3, SIDE, 1))(layers.Dropout(0.5)(maps)),
    "concatenate": lambda maps: layers.Concatenate(axis=2)([_features(maps), layers.Conv2D(WIDTH, 3)(maps)]),
    "concatenate rows": lambda maps: layers.Concatenate()([layers.Flatten()(maps), layers.GlobalMaxPooling2D()(maps)]),
    "both layouts": lambda maps: layers.Add()([maps, layers.Dense(3)(maps), layers.LayerNormalization()(maps)]),
    "scale layers": _scale_layers,
    "sequential": _sequence,
    "nested model": _nested,
    "leaky relu": lambda maps: layers.ReLU(negative_slope=0.1)(maps - 90.0),
    "leaky relu layer": lambda maps: layers.LeakyReLU(negative_slope=0.2)(maps - 90.0),
    "elu layer": lambda maps: layers.ELU(alpha=0.5)(maps * 0.05 - 3.0),
    "prelu": lambda maps: layers.PReLU(shared_axes=[1, 2])(_features(maps) - 90.0),
    "softmax layer": lambda maps: layers.Softmax()(layers.Identity()(_features(maps * 0.01))),
    "average": lambda maps: layers.Average()([maps, layers.Dense(3)(maps), layers.Subtract()([maps, maps * 2.0])]),
    "extremes": lambda maps: layers.Maximum()([maps, layers.Minimum()([maps * 0.5, 90.0 - maps])]),
    "relu 6": lambda maps: layers.ReLU(max_value=6.0)(maps - 90.0),
    "absolute": lambda maps: keras.ops.absolute(maps - 100.0),
    "sqrt": lambda maps: keras.ops.sqrt(keras.ops.maximum(maps, 3.0)),
    "log": lambda maps: keras.ops.log(keras.ops.maximum(maps, 3.0)),
    "minimum": lambda maps: keras.ops.minimum(keras.ops.minimum(maps, 90.0), 120.0 - maps),
    "below the highest": lambda maps: _below_highest(layers.GlobalMaxPooling2D()(maps * -1.0)),
    "softmax of maps": lambda maps: layers.Activation("softmax")(_features(maps * 0.01)),
    **{
        name: _with_activation(name)
        for name in [
            "elu",
            "gelu",
            "hard_sigmoid",
            "hard_silu",
            "leaky_relu",
            "linear",
            "relu",
            "relu6",
            "selu",
            "sigmoid",
            "silu",
            "softmax",
            "softplus",
            "softsign",
            "tanh",
        ]
    },
}


def small_network(body: Callable[[Tensor], Tensor]) -> keras.Model:
    """Return a network with random weights, in which biases are not 0 and scales not 1, unlike Keras's initial ones."""
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


def saved_and_loaded(network: keras.Model, folder: Path) -> keras.Model:
    """Return a network as it is loaded from a bundle, with lists in place of tuples."""
    network.save(folder / "network.keras")
    return keras.saving.load_model(folder / "network.keras", compile=False)


@pytest.mark.parametrize("loaded", [False, True], ids=["built", "loaded"])
@pytest.mark.parametrize("name", SMALL)
def test_write_onnx_operation(name: str, loaded: bool, tmp_path: Path) -> None:
    network = small_network(SMALL[name])
    network = saved_and_loaded(network, tmp_path) if loaded else network
    images = np.random.default_rng(2).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    expected = outputs(network, images)
    write_onnx(network, tmp_path / "a.onnx")
    predicted = open_onnx(tmp_path / "a.onnx")(images)
    scale = np.abs(expected).max()
    assert expected.std(axis=0).max() > 1e-3 * scale
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-5 * scale)


def test_every_supported_operation_is_tested() -> None:
    def kinds(network: keras.Model) -> set[str]:
        result = set()
        for operation in network.layers if isinstance(network, keras.Sequential) else network.operations:
            result |= kinds(operation) if isinstance(operation, keras.Model) else {type(operation).__name__}
        return result

    tested = set().union(*(kinds(small_network(body)) for body in SMALL.values()))
    assert set(KINDS) <= tested


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda maps: layers.UpSampling2D(2)(maps), "up_sampling2d.*: UpSampling2D"),
        (lambda maps: layers.Activation("mish")(maps), "activation mish"),
        (lambda maps: layers.BatchNormalization(axis=1)(maps), "batch normalization of axis 1"),
        (lambda maps: layers.LayerNormalization(axis=(1, 2, 3))(maps), r"layer normalization of axes \[1, 2, 3\]"),
        (lambda maps: layers.ReLU(threshold=1.0)(maps), "ReLU with a threshold"),
        (lambda maps: maps[:, 1:, 1:, :], "index .* of a tensor"),
        (lambda maps: maps + np.ones((SIDE, SIDE, 3), np.float32), "Add of a constant of shape"),
        (lambda maps: keras.ops.cast(maps, "int32"), "cast to int32"),
        (
            lambda maps: layers.Normalization(mean=1.0, variance=2.0, axis=None, invert=True)(maps),
            "inverted normalization",
        ),
    ],
)
def test_write_onnx_unsupported_operation_is_a_model_error(
    body: Callable[[Tensor], Tensor], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"^small cannot be exported to ONNX. Not supported: .*{reason}"):
        write_onnx(small_network(body), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_write_onnx_invalid_graph_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "OPSET", 16)
    with pytest.raises(ModelError, match=r"the graph is not valid: .*LayerNormalization"):
        write_onnx(small_network(SMALL["layer norm"]), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_write_onnx_too_many_parameters_is_a_model_error(tmp_path: Path) -> None:
    network = small_network(_features)
    network.count_params = lambda: 2**29
    with pytest.raises(ModelError, match=r"536,870,912 parameters, more than the 2 GB"):
        write_onnx(network, tmp_path / "a.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_open_onnx_missing_package_names_the_extra(package: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=f"needs the package {package}, which is not installed") as caught:
        open_onnx(file)
    assert caught.value.hint == "Install it: pip install 'transfer-cli[onnx]'."


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small"])
def test_write_onnx_backbone(name: str, photographs: Images, tmp_path: Path) -> None:
    images = photographs if backbones.find(name).min_size > 64 else photographs[:, 16:80, 16:80].copy()
    network = alive(backbones.find(name), images)
    assert answers_to_its_input(outputs(network, images))
    write_onnx(saved_and_loaded(network, tmp_path), tmp_path / "a.onnx")
    assert predicts_like_keras(network, tmp_path / "a.onnx", images)
