from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.live_networks import alive, answers_to_its_input, outputs, sample_images
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import InputError, ModelError, UnknownNameError
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.inference.runtime_parity import parity_fault
from transfer_cli.inference.runtimes import open_graph
from transfer_cli.models.backbone import _pooled, build, build_bare, build_with_top
from transfer_cli.models.compile import inference_function
from transfer_cli.models.keras_file import load_keras
from transfer_cli.models.layer_summary import layer_table, memory, memory_summary

SIDE = 96
QUICK = [
    "efficientnet_b0",
    "lenet5",
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "small_cnn",
]


@pytest.fixture(scope="module")
def photographs(shared: Path) -> NDArray[np.uint8]:
    return sample_images(shared / "data/clothing/train", SIDE)


@pytest.mark.parametrize("name", QUICK)
def test_build_survives_saving(name: str, photographs: NDArray[np.uint8], tmp_path: Path) -> None:
    """Save and load a network, and convert it: the answers stay. Exports test the other families."""
    spec = find(name)
    model = alive(spec, photographs)
    assert model.input.dtype == "uint8"
    assert model.layers[-2].output.shape == (None, spec.width)
    before = outputs(model, photographs)
    assert answers_to_its_input(before)
    convert(model, tmp_path / "model.tflite")
    converted = open_graph("litert", tmp_path / "model.tflite")(photographs)
    assert parity_fault(before, converted, classes=True) is None
    # Random weights let float32's rounding grow with the depth: 1.2e-3 for ResNet152. Swapped channels make 1e-2.
    np.testing.assert_allclose(converted, before, atol=3e-3)
    (tmp_path / "model.tflite").unlink()
    model.save(tmp_path / "model.keras")
    del model
    keras.backend.clear_session()
    after = outputs(load_keras(tmp_path / "model.keras"), photographs)
    (tmp_path / "model.keras").unlink()
    np.testing.assert_allclose(after, before, atol=1e-6)
    keras.backend.clear_session()


def test_check_network_ignoring_its_input_is_found(photographs: NDArray[np.uint8]) -> None:
    """Planted fault for the test above: plain random weights, and an input that is thrown away."""
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE)
    plain_random = keras.Model(network.inputs[0], keras.layers.Dense(5, activation="softmax")(network.output))
    assert not answers_to_its_input(inference_function(plain_random)(photographs))
    model = alive(find("mobilenet@0.25"), photographs)
    assert not answers_to_its_input(inference_function(model)(np.zeros_like(photographs)))


def test_check_swapped_channels_are_found(photographs: NDArray[np.uint8]) -> None:
    """The twin of the comparison above: the same network on BGR."""
    model = inference_function(alive(find("mobilenet@0.25"), photographs))
    assert np.abs(model(photographs[..., ::-1].copy()) - model(photographs)).max() > 0.01


@pytest.mark.parametrize("name", ["mobilenet@0.25", "resnet50", "densenet121", "efficientnet_b0"])
def test_build_preprocessing_equals_keras(name: str, photographs: NDArray[np.uint8]) -> None:
    """One backbone of each scheme: the model on uint8 equals Keras's own way on floats."""
    spec = find(name)
    ours = inference_function(build(spec, weights="none", size=SIDE, seed=5))(photographs)
    keras.utils.set_random_seed(5)
    width = {"alpha": spec.alpha} if spec.alphas else {}
    theirs = getattr(keras.applications, spec.factory)(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg", **width
    )
    module = getattr(keras.applications, spec.module)
    scaled = module.preprocess_input(photographs.astype(np.float32))
    expected = theirs.predict(scaled, verbose=0)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("pooling", "width"), [("avg", 256), ("max", 256), ("flatten", 9 * 256)])
def test_build_pooling_gives_expected_width(pooling: str, width: int) -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, pooling=pooling)
    assert network.output_shape == (None, width)


def test_build_layer_cuts_deeper() -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, layer="conv_pw_6_relu")
    assert network.output_shape == (None, 128)
    assert "conv_dw_7" not in [layer.name for layer in network.layers]
    assert not network.trainable_weights


@pytest.mark.parametrize(("name", "layer"), [("mobilenet@0.25", "conv_preds"), ("mobilenet_v2@0.35", "predictions")])
def test_build_classification_layer_without_its_weights_lists_what_can_be_cut(name: str, layer: str) -> None:
    spec = find(name)
    with pytest.raises(UnknownNameError, match=f"{layer} is a classification layer of {name}") as caught:
        build(spec, weights="none", size=spec.size, layer=layer)
    hint = str(caught.value.hint)
    assert f"use --weights imagenet and images of {spec.size} pixels" in hint
    listed = hint.partition("from the last one: ")[2].partition(" and ")[0].split(", ")
    assert len(listed) == 20
    for each in (listed[0], listed[-1]):
        assert build(spec, weights="none", size=SIDE, layer=each).output_shape[1]
    # The planted fault: a hint that names what was just refused.
    assert not {*listed} & {*spec.top_layers}


def test_build_classification_layer_is_cut_from_the_whole_network(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    spec = find("mobilenet@0.25")
    images = sample_images(shared / "data/clothing/train", spec.size)[:4]
    features = build(spec, layer="conv_preds", offline=True)
    whole = build_with_top(spec, offline=True)
    logits = np.asarray(features(images))
    assert logits.shape == (4, 1000)
    expected = np.asarray(keras.ops.softmax(logits))
    np.testing.assert_allclose(np.asarray(whole(images)), expected, atol=1e-6)
    with pytest.raises(UnknownNameError, match=r"Received: --weights imagenet at 96 pixels"):
        build(spec, size=SIDE, layer="conv_preds", weights="imagenet", offline=True)


def test_build_invalid_arguments_raise() -> None:
    spec = find("mobilenet@0.25")
    with pytest.raises(UnknownNameError, match=r"no layer of .* called 'conv_pw_6_rel'. Did you mean conv_pw_6_relu\?"):
        build(spec, weights="none", size=SIDE, layer="conv_pw_6_rel")
    with pytest.raises(UnknownNameError, match="is the average pooling of the last layer") as caught:
        build(spec, weights="none", size=SIDE, layer="global_average_pooling2d")
    assert str(caught.value.hint).startswith("Leave out --layer.")
    with pytest.raises(InputError, match="needs images of at least 75 pixels"):
        build(find("inception_v3"), weights="none", size=64)
    volume = keras.Input((4, 4, 4, 3))
    with pytest.raises(ModelError, match="Expected a feature map or a vector"):
        _pooled(volume, volume, "avg")


def test_build_random_weights_follow_the_seed(photographs: NDArray[np.uint8]) -> None:
    def features(seed: int) -> NDArray[np.float32]:
        result: NDArray[np.float32] = inference_function(
            build(find("mobilenet@0.25"), weights="none", size=SIDE, seed=seed)
        )(photographs[:2])
        return result

    assert np.array_equal(features(1), features(1))
    assert not np.array_equal(features(1), features(2))


def test_build_loads_weights_from_file(tmp_path: Path, photographs: NDArray[np.uint8]) -> None:
    spec = find("mobilenet@0.25")
    theirs = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    theirs.save_weights(tmp_path / "mine.weights.h5")
    ours = build(spec, weights=str(tmp_path / "mine.weights.h5"), size=SIDE)
    scaled = keras.applications.mobilenet.preprocess_input(photographs.astype(np.float32))
    expected = theirs.predict(scaled, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(inference_function(ours)(photographs), expected, rtol=1e-4, atol=1e-9)


def test_memory_of_vgg16() -> None:
    table = layer_table(build_bare(find("vgg16")))
    needs = memory(table)
    assert needs["parameters"] == 138_357_544
    assert needs["activations"] == 15_262_696
    assert memory_summary(needs)[0] == "138,357,544 parameters, 553 MB; 15.3 M activations, 61 MB per image"
    assert next(row for row in table if row.name == "block1_conv2").multiply_adds == 224 * 224 * 64 * 64 * 9


def test_build_imagenet_weights_give_expected_features(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    network = build_with_top(find("mobilenet@0.25"), offline=True)
    assert network.output_shape == (None, 1000)
