"""Features of several levels: which feature maps they are pooled from, and their values."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from transfer_cli.catalog.backbones import find
from transfer_cli.models.backbone import build
from transfer_cli.models.feature_levels import level_maps, pool_levels, top_map

LEVELS = {
    "mobilenet@0.25": ["conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"],
    "mobilenet_v2@0.35": [
        *("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
    ],
    "vgg16": ["block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"],
    "resnet50": ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
}


def maker(tensor: object) -> str:
    return str(tensor._keras_history.operation.name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", LEVELS)
def test_level_maps_are_the_last_of_each_resolution(name: str) -> None:
    network = build(find(name), weights="none", size=96)
    top = network.layers[-1].input
    assert [maker(each) for each in level_maps(network.inputs[0], top)] == LEVELS[name]


def test_level_maps_leave_out_maps_that_paths_avoid() -> None:
    images = keras.Input((64, 64, 3))
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    avoided = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="avoided")(first)
    shortcut = keras.layers.AveragePooling2D(4, name="shortcut")(first)
    joined = keras.layers.Add(name="joined")([keras.layers.AveragePooling2D(2)(avoided), shortcut])
    top = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="top")(joined)
    assert [maker(each) for each in level_maps(images, top)] == ["first", "joined", "top"]


def test_level_maps_without_padding_count_as_one_resolution() -> None:
    images = keras.Input((64, 64, 3))
    tensor = images
    for name, strides in (("a", 2), ("b", 1), ("c", 1), ("d", 2)):
        tensor = keras.layers.Conv2D(4, 3, strides=strides, name=name)(tensor)
    assert [maker(each) for each in level_maps(images, tensor)] == ["c", "d"]


def test_pool_levels_are_signed_roots_of_the_means() -> None:
    images = keras.Input((8, 8, 2))
    low = keras.layers.Conv2D(3, 2, strides=2, name="low")(images)
    top = keras.layers.Conv2D(2, 2, strides=2, name="top")(low)
    pooled = pool_levels(images, top)
    inputs = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype(np.float32)
    maps = keras.Model(images, [low, top])(inputs)
    means = np.concatenate([np.asarray(each).mean(axis=(1, 2)) for each in maps], axis=1)
    assert (means < 0).any()
    given = np.asarray(keras.Model(images, pooled)(inputs))
    np.testing.assert_allclose(given, np.sign(means) * np.sqrt(np.abs(means)), atol=1e-3)


def test_build_levels_joins_all_widths_and_keeps_the_backbone() -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=64, pooling="levels")
    assert network.output_shape == (None, 16 + 32 + 64 + 128 + 256)
    assert maker(top_map(network)) == "conv_pw_13_relu"
    average = build(find("mobilenet@0.25"), weights="none", size=64)
    assert top_map(average) is None
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    last, all_levels = np.asarray(average(images)), np.asarray(network(images))
    np.testing.assert_allclose(np.sqrt(last), all_levels[:, -256:], atol=1e-3)


def test_build_levels_of_a_chosen_layer_ends_there() -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=64, pooling="levels", layer="conv_pw_5_relu")
    assert network.output_shape == (None, 16 + 32 + 64)
