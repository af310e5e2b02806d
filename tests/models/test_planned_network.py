"""The network that a recipe describes, as Keras builds it: every setting has its effect, and the plan is exact."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from transfer_cli.models import backbone, freezing
from transfer_cli.models.layer_summary import layer_table
from transfer_cli.recipe.network import Network
from transfer_cli.recipe.network_plan import spec_of

SIZE = 32
BASE: dict[str, Any] = {"block": [{"filters": 4}], "dense": [5]}


def build(settings: dict[str, Any], pooling: str | None = None, size: int = SIZE) -> keras.Model:
    network = Network.model_validate(settings)
    spec = spec_of(network, size, pooling or network.default_pooling())
    return backbone.build(spec, weights="none", size=size, pooling=pooling, seed=1)


def graph(network: keras.Model) -> list[tuple[str, str, tuple[int, ...], int]]:
    return [(row.name, row.kind, row.output_shape, row.parameters) for row in layer_table(network)]


def with_block(**settings: Any) -> dict[str, Any]:
    return {**BASE, "block": [{"filters": 4, **settings}]}


INPUT = ("images", "InputLayer", (32, 32, 3), 0)
CONV = ("block1", "Conv2D", (32, 32, 4), 112)
ACTIVATION = ("block1_activation1", "Activation", (32, 32, 4), 0)
END = [("flatten_features", "Flatten", (4096,), 0), ("dense1", "Dense", (5,), 20_485)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (BASE, [INPUT, CONV, ACTIVATION, *END]),
        ({}, [INPUT, ("flatten_features", "Flatten", (3072,), 0)]),
        (
            {"dense": [6, 5], "dropout": 0.5},
            [
                INPUT,
                ("flatten_features", "Flatten", (3072,), 0),
                ("dense1", "Dense", (6,), 18_438),
                ("dense1_dropout", "Dropout", (6,), 0),
                ("dense2", "Dense", (5,), 35),
                ("dense2_dropout", "Dropout", (5,), 0),
            ],
        ),
        (
            {"block": [{"filters": 4}]},
            [INPUT, CONV, ACTIVATION, ("avg_features", "GlobalAveragePooling2D", (4,), 0)],
        ),
        (with_block(kernel=5), [INPUT, ("block1", "Conv2D", (32, 32, 4), 304), ACTIVATION, *END]),
        (
            with_block(stride=2, padding="valid"),
            [
                INPUT,
                ("block1", "Conv2D", (15, 15, 4), 112),
                ("block1_activation1", "Activation", (15, 15, 4), 0),
                ("flatten_features", "Flatten", (900,), 0),
                ("dense1", "Dense", (5,), 4505),
            ],
        ),
        (
            with_block(pool="max", dropout=0.5),
            [
                INPUT,
                CONV,
                ACTIVATION,
                ("block1_pool", "MaxPooling2D", (16, 16, 4), 0),
                ("block1_dropout", "Dropout", (16, 16, 4), 0),
                ("flatten_features", "Flatten", (1024,), 0),
                ("dense1", "Dense", (5,), 5125),
            ],
        ),
        (
            with_block(pool="avg", pool_size=3),
            [
                INPUT,
                CONV,
                ACTIVATION,
                ("block1_pool", "AveragePooling2D", (10, 10, 4), 0),
                ("flatten_features", "Flatten", (400,), 0),
                ("dense1", "Dense", (5,), 2005),
            ],
        ),
        (
            with_block(batch_norm=True),
            [
                INPUT,
                ("block1", "Conv2D", (32, 32, 4), 108),
                ("block1_norm1", "BatchNormalization", (32, 32, 4), 16),
                ACTIVATION,
                *END,
            ],
        ),
        (
            with_block(repeat=2),
            [
                INPUT,
                CONV,
                ACTIVATION,
                ("block1_conv2", "Conv2D", (32, 32, 4), 148),
                ("block1_activation2", "Activation", (32, 32, 4), 0),
                *END,
            ],
        ),
        (
            with_block(convolutions=2, residual=True, repeat=2, stride=2),
            [
                INPUT,
                ("block1", "Conv2D", (16, 16, 4), 112),
                ("block1_activation1", "Activation", (16, 16, 4), 0),
                ("block1_conv2", "Conv2D", (16, 16, 4), 148),
                ("block1_shortcut1", "Conv2D", (16, 16, 4), 16),
                ("block1_add1", "Add", (16, 16, 4), 0),
                ("block1_activation2", "Activation", (16, 16, 4), 0),
                ("block1_conv3", "Conv2D", (16, 16, 4), 148),
                ("block1_activation3", "Activation", (16, 16, 4), 0),
                ("block1_conv4", "Conv2D", (16, 16, 4), 148),
                ("block1_add2", "Add", (16, 16, 4), 0),
                ("block1_activation4", "Activation", (16, 16, 4), 0),
                ("flatten_features", "Flatten", (1024,), 0),
                ("dense1", "Dense", (5,), 5125),
            ],
        ),
    ],
)
def test_graph_of_each_setting(settings: dict[str, Any], expected: list[Any]) -> None:
    assert graph(build(settings)) == expected


def test_activation_of_the_network_and_of_one_block() -> None:
    blocks = {"block": [{"filters": 4}, {"filters": 4, "activation": "gelu"}], "dense": [5], "activation": "tanh"}
    network = build(blocks)
    names = ("block1_activation1", "block2_activation1", "dense1")
    assert [network.get_layer(name).activation.__name__ for name in names] == ["tanh", "gelu", "tanh"]
    kinds = [type(network.get_layer(name).kernel_initializer).__name__ for name in ("block1", "block2", "dense1")]
    assert kinds == ["GlorotUniform", "HeNormal", "GlorotUniform"]


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
def test_plan_equals_the_network_that_keras_builds(pooling: str) -> None:
    settings = {
        "block": [
            {"filters": 6, "kernel": 5, "padding": "valid", "pool": "max", "pool_size": 3},
            {"filters": 8, "stride": 2, "convolutions": 2, "repeat": 2, "residual": True, "batch_norm": True},
            {"filters": 8, "residual": True, "dropout": 0.1, "pool": "avg"},
        ],
        "dense": [7],
    }
    spec = spec_of(Network.model_validate(settings), 29, pooling)
    network = build(settings, pooling, size=29)
    planned = {layer.name: (layer.kind, layer.shape, layer.parameters, layer.multiply_adds) for layer in spec.layers}
    rows = {
        row.name: (row.kind, row.output_shape, row.parameters, row.multiply_adds)
        for row in layer_table(network)
        if row.kind != "InputLayer"
    }
    assert rows == planned
    assert (spec.parameters_below_top, spec.width) == (network.count_params(), network.output_shape[1])
    assert spec.multiply_adds == sum(layer.multiply_adds for layer in spec.layers)


def test_shortcut_is_added_before_the_activation() -> None:
    network = build({"block": [{"filters": 3, "residual": True}]}, "flatten")
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    scaled = images.astype(np.float32) / 127.5 - 1
    conv = np.asarray(network.get_layer("block1")(scaled))
    assert np.allclose(network(images), np.maximum(conv + scaled, 0).reshape(2, -1), atol=1e-5)
    assert not np.allclose(network(images), np.maximum(conv, 0).reshape(2, -1), atol=1e-2)


def test_stage_from_a_block_trains_that_block_and_all_above() -> None:
    network = build({"block": [{"filters": 4}, {"filters": 6, "residual": True}], "dense": [5]})
    split = freezing.split_at(network, "from:block2")
    trained = [layer.name for layer in split.layers if layer.weights]
    assert sorted(trained) == ["block2", "block2_shortcut1", "dense1"]
    assert split.frozen is not None
    assert split.frozen.layers[-1].name == "block1_activation1"
    assert split.whole_block is None


def test_random_weights_follow_the_seed() -> None:
    spec = spec_of(Network.model_validate(BASE), SIZE, "flatten")
    weights = [backbone.build(spec, weights="none", size=SIZE, seed=seed).get_weights() for seed in (1, 1, 2)]
    assert all(map(np.array_equal, weights[0], weights[1]))
    assert not np.array_equal(weights[0][0], weights[2][0])
