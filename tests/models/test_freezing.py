"""Where a backbone can be cut, and that the two sides of a cut are the whole."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.live_networks import outputs, sample_images, wake
from transfer_cli.catalog import backbones
from transfer_cli.errors import RecipeError, UnknownNameError
from transfer_cli.models import freezing
from transfer_cli.models.backbone import build

SAMPLES = REPOSITORY / "sample_data/patterns"
FAMILIES = [
    "mobilenet@0.25",
    "mobilenet_v2@0.35",
    "lenet5",
    "small_cnn",
    pytest.param("alexnet", marks=pytest.mark.slow),
    pytest.param("vgg16", marks=pytest.mark.slow),
    pytest.param("resnet50", marks=pytest.mark.slow),
    pytest.param("resnet50_v2", marks=pytest.mark.slow),
    pytest.param("inception_v3", marks=pytest.mark.slow),
    pytest.param("inception_resnet_v2", marks=pytest.mark.slow),
    pytest.param("xception", marks=pytest.mark.slow),
    pytest.param("mobilenet_v3_small", marks=pytest.mark.slow),
    pytest.param("densenet121", marks=pytest.mark.slow),
    pytest.param("nasnet_mobile", marks=pytest.mark.slow),
    pytest.param("efficientnet_b0", marks=pytest.mark.slow),
    pytest.param("efficientnet_v2_b0", marks=pytest.mark.slow),
    pytest.param("convnext_tiny", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_split_at_parts_compose_to_the_network(name: str) -> None:
    spec = backbones.find(name)
    size = max(64, spec.min_size)
    images = sample_images(Path(SAMPLES), size, 8)
    network = build(spec, weights="none", size=size, seed=1)
    wake(network, images)
    expected = outputs(network, images)
    assert np.ptp(expected, axis=0).max() > 0.01
    few = f"last:{min(20, len(freezing.backbone_layers(network)) // 2)}"  # VGG16 has 18 layers in all
    for unfreeze in ("last:50%", few, "last:10%"):
        frozen_split = freezing.split_at(network, unfreeze)
        assert any(layer.weights for layer in frozen_split.layers)
        assert frozen_split.frozen is not None
        assert frozen_split.upper is not None
        between = np.asarray(frozen_split.frozen(images, training=False))
        np.testing.assert_allclose(
            np.asarray(frozen_split.upper(between, training=False)), expected, atol=1e-4, rtol=1e-4
        )
        above = {id(layer) for layer in frozen_split.upper.layers}
        assert all(id(layer) in above for layer in frozen_split.layers if layer.weights)
        # With the frozen part's outputs for other images, the upper part returns other features.
        moved = np.asarray(frozen_split.upper(np.roll(between, 1, axis=0), training=False))
        assert not np.allclose(moved, expected, atol=1e-3)


def test_cut_points_network_with_branches() -> None:
    network = build(backbones.find("mobilenet_v2@0.35"), weights="none", size=64)
    names = [operation.name for operation in freezing.cut_points(network)]
    assert {"block_2_add", "block_3_expand", "out_relu"} <= set(names)
    # Beside these, block_2's branch runs the input of the block itself.
    assert not {"block_2_expand", "block_2_depthwise", "block_2_project_BN"} & set(names)


def test_split_at_unfreezes_the_right_layers() -> None:
    network = build(backbones.find("mobilenet@0.25"), weights="none", size=32)
    layers = [layer.name for layer in freezing.backbone_layers(network)]
    assert layers[0] == "conv1"
    assert layers[-1] == "conv_pw_13_relu"

    def names(unfreeze: str) -> list[str]:
        return [layer.name for layer in freezing.split_at(network, unfreeze).layers]

    assert names("head") == []
    assert names("all") == layers
    assert names("last:5") == layers[-5:]
    assert names("last:1000") == layers
    assert names("from:conv_dw_13") == layers[layers.index("conv_dw_13") :]
    assert names("last:100%") == layers
    assert freezing.split_at(network, "all").frozen is None
    with pytest.raises(UnknownNameError, match=r"layer to unfreeze from called 'conv_dw_14'\. Did you mean conv_dw_4"):
        names("from:conv_dw_14")


def test_split_at_share_splits_no_block() -> None:
    network = build(backbones.find("mobilenet_v2@0.35"), weights="none", size=64)
    for share in range(5, 100, 5):
        first = freezing.split_at(network, f"last:{share}%").layers[0].name
        layers = [layer.name for layer in freezing.backbone_layers(network)]
        before = layers[layers.index(first) - 1]
        assert before in {operation.name for operation in freezing.cut_points(network)}, (share, first)


def test_split_at_inside_block_names_it() -> None:
    network = build(backbones.find("mobilenet_v2@0.35"), weights="none", size=64)
    layers = [layer.name for layer in freezing.backbone_layers(network)]
    last = len(layers) - layers.index("block_15_project")
    for unfreeze in ("from:block_15_depthwise", "from:block_15_add", f"last:{last}"):
        assert freezing.split_at(network, unfreeze).whole_block == "block_15_expand"
    for unfreeze in ("from:block_15_expand", "from:block_16_project", "last:40%", "all", "head"):
        assert freezing.split_at(network, unfreeze).whole_block is None


@pytest.mark.parametrize(
    ("name", "names", "lowest", "highest"),
    [
        ("mobilenet@0.25", {"gamma", "beta"}, "conv1_bn", "conv_pw_13_bn"),
        ("lenet5", {"bias"}, "conv1", "dense2"),
        pytest.param("resnet50", {"gamma", "beta", "bias"}, "conv1_conv", "conv5_block3_3_bn", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", {"gamma", "beta", "bias"}, None, None, marks=pytest.mark.slow),
    ],
)
def test_split_at_norms_and_biases_selects_them_alone(
    name: str, names: set[str], lowest: str | None, highest: str | None
) -> None:
    network = build(backbones.find(name), weights="none", size=max(64, backbones.find(name).min_size))
    frozen_split = freezing.split_at(network, "norms-and-biases")
    freezing.set_trainable(network, frozen_split.layers)
    variables = [variable for variable, _ in frozen_split.variables()]
    assert {variable.name for variable in variables} == names
    assert all(len(variable.shape) == 1 for variable in variables)
    expected = [
        variable
        for layer in freezing.backbone_layers(network)
        for variable in layer.weights
        if variable.name == "bias" or (variable.name in ("gamma", "beta") and "Norm" in type(layer).__name__)
    ]
    assert [id(variable) for variable in variables] == [id(variable) for variable in expected]
    if lowest:
        assert (frozen_split.layers[0].name, frozen_split.layers[-1].name) == (lowest, highest)
    assert frozen_split.whole_block is None
    # The planted fault: the layers as wholes have kernels or nothing else to train.
    whole = [variable for layer in frozen_split.layers for variable in layer.trainable_variables]
    assert (len(whole) > len(variables)) == ("bias" in names)


def test_split_at_norms_and_biases_depths_are_those_of_all_layers() -> None:
    network = build(backbones.find("mobilenet@0.25"), weights="none", size=32)
    parts = {unfreeze: freezing.split_at(network, unfreeze) for unfreeze in ("all", "norms-and-biases")}
    depths = {kind: {layer.name: d for layer, d in zip(s.layers, s.depths, strict=True)} for kind, s in parts.items()}
    assert depths["norms-and-biases"]["conv_pw_13_bn"] == 1
    assert depths["norms-and-biases"]["conv1_bn"] == 27
    assert depths["norms-and-biases"].items() <= depths["all"].items()
    # The convolution below the lowest of them is frozen.
    frozen = parts["norms-and-biases"].frozen
    assert frozen is not None
    assert [layer.name for layer in frozen.layers if layer.weights] == ["conv1"]
    assert parts["all"].frozen is None


def test_split_at_norms_and_biases_without_any_raises() -> None:
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, use_bias=False, name="plain")(inputs)
    maps = keras.layers.BatchNormalization(center=False, scale=False, name="norm")(maps)
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps))
    with pytest.raises(RecipeError, match="neither normalisation layers with a scale or shift nor biases") as caught:
        freezing.split_at(network, "norms-and-biases")
    assert caught.value.hint == 'Set unfreeze = "head", or train whole layers, such as unfreeze = "last:50%".'
