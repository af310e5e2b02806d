"""Features of every depth of a network: which feature maps they are pooled from, and their values."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from transfer_cli.catalog.backbones import find
from transfer_cli.errors import ModelError
from transfer_cli.models.backbone import build
from transfer_cli.models.depth_features import Depth, depths_of, pool_depths
from transfer_cli.models.feature_levels import pool_levels
from transfer_cli.models.keras_file import load_keras, save_keras

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """Return a network with a residual block, its levels joined."""
    keras.utils.set_random_seed(1)
    images = keras.Input((64, 64, 3), dtype="uint8")
    scaled = layers.Rescaling(1 / 255, name="scaled")(images)
    first = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(scaled)
    first = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_norm")(first))
    pooled = layers.MaxPooling2D(2, name="pooled")(first)
    inside = layers.Conv2D(4, 3, padding="same", name="inside")(pooled)
    inside = layers.Conv2D(4, 3, padding="same", name="inside_too")(layers.ReLU(name="inside_relu")(inside))
    added = layers.ReLU(name="added_relu")(layers.Add(name="added")([pooled, inside]))
    top = layers.Conv2D(6, 3, strides=2, name="top")(layers.ZeroPadding2D(1, name="padding")(added))
    return keras.Model(images, pool_levels(images, top))


def test_depths_are_the_last_maps_before_each_kernel_and_the_levels(small: keras.Model) -> None:
    assert depths_of(pool_depths(small)) == [
        Depth("first_relu", 1, 32, 32, 4, 0, is_level=True),
        Depth("pooled", 1, 16, 16, 4, 4, is_level=False),
        Depth("added_relu", 3, 16, 16, 4, 8, is_level=True),
        Depth("top", 4, 8, 8, 6, 12, is_level=True),
    ]


def test_pool_depths_are_signed_roots_of_the_means(small: keras.Model) -> None:
    network = pool_depths(small)
    given = np.asarray(network(IMAGES))
    assert given.dtype == np.float32
    for depth in depths_of(network):
        maps = keras.Model(small.inputs[0], small.get_layer(depth.layer).output)(IMAGES)
        means = np.asarray(maps).mean(axis=(1, 2))
        np.testing.assert_allclose(given[:, depth.columns], np.sign(means) * np.sqrt(np.abs(means)), atol=1e-3)
    assert (given < 0).any()


def test_level_columns_are_the_features_of_pooling_levels() -> None:
    levels = build(find("mobilenet@0.25"), weights="none", size=64, pooling="levels")
    network = pool_depths(levels)
    depths = depths_of(network)
    assert network.output_shape == (None, depths[-1].columns.stop)
    assert all(one.columns.stop == two.start and one.number < two.number for one, two in pairwise(depths))
    given, expected = np.asarray(network(IMAGES)), np.asarray(levels(IMAGES))
    of_levels = [given[:, depth.columns] for depth in depths if depth.is_level]
    np.testing.assert_array_equal(np.concatenate(of_levels, axis=1), expected)
    # Planted fault: other columns of the same width differ.
    assert not np.array_equal(given[:, -expected.shape[1] - 1 : -1], expected)


def test_depths_of_a_saved_network_are_the_same(small: keras.Model, tmp_path: Path) -> None:
    network = pool_depths(small)
    save_keras(network, tmp_path / "depths.keras")
    loaded = load_keras(tmp_path / "depths.keras")
    assert depths_of(loaded) == depths_of(network)
    np.testing.assert_array_equal(np.asarray(loaded(IMAGES)), np.asarray(network(IMAGES)))


def test_pool_depths_of_a_network_without_maps_raises() -> None:
    images = keras.Input((8, 8, 3))
    with pytest.raises(ModelError, match="has no feature maps"):
        pool_depths(keras.Model(images, layers.Dense(4)(layers.Flatten()(images))))
