"""Pretrained and trained layers in one graph, over the lower layers that they share."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from transfer_cli.catalog.backbones import find
from transfer_cli.models.backbone import build
from transfer_cli.models.feature_levels import with_levels
from transfer_cli.models.freezing import split_at
from transfer_cli.models.pretrained_branch import PRETRAINED, join, pretrained_branch

IMAGES = np.random.default_rng(0).integers(0, 256, (3, TINY_SIZE, TINY_SIZE, 3), np.uint8)


def joined(weights: Path, unfreeze: str) -> tuple[keras.Model, keras.Model, np.ndarray, list[keras.Layer]]:
    """Return a network joined with its pretrained branch, itself after training, and its features before it."""
    network = with_levels(build(find(TINY), weights=str(weights), size=TINY_SIZE))
    layers = split_at(build(find(TINY), weights="none", size=TINY_SIZE), unfreeze).layers
    trained = [network.get_layer(layer.name) for layer in layers]
    before = np.asarray(network(IMAGES))
    both = join(network, pretrained_branch(network, {layer.name for layer in trained}))
    for layer in trained:
        layer.set_weights([array + 0.1 for array in layer.get_weights()])
    return both, network, before, trained


@pytest.mark.parametrize("unfreeze", ["last:6", "last:50%", "all"])
def test_joined_features_are_those_of_the_trained_and_of_the_pretrained_network(weights: Path, unfreeze: str) -> None:
    both, network, before, _ = joined(weights, unfreeze)
    after = np.asarray(network(IMAGES))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(np.asarray(both(IMAGES)), np.concatenate([after, before], axis=1))


def test_lower_layers_are_shared_and_upper_ones_are_copied(weights: Path) -> None:
    both, network, _, trained = joined(weights, "last:6")
    copies = {layer.name.removeprefix(PRETRAINED) for layer in both.layers if layer.name.startswith(PRETRAINED)}
    names = [layer.name for layer in network.layers]
    lowest = min(names.index(layer.name) for layer in trained)
    assert {name for name in names[lowest:] if not name.startswith("level_")} <= copies
    assert not {layer.name for layer in network.layers[:lowest]} & copies
    assert both.count_params() < 2 * network.count_params()


def test_a_saved_network_is_the_same(weights: Path, tmp_path: Path) -> None:
    both, *_ = joined(weights, "last:6")
    both.save(tmp_path / "both.keras")
    np.testing.assert_array_equal(
        np.asarray(keras.models.load_model(tmp_path / "both.keras")(IMAGES)), np.asarray(both(IMAGES))
    )
