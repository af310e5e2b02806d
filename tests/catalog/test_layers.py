"""The catalog knows the layers of each backbone without building it."""

from __future__ import annotations

import pytest

from tests.catalog.layer_names import built_layers
from transfer_cli.catalog import backbones, layers
from transfer_cli.errors import UnknownNameError

QUICK = ("embedded", "hog", "lenet5", "mobilenet_v3_small", "pixels", "small_cnn")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in backbones.BACKBONES]
)
def test_names_are_those_of_the_network(name: str) -> None:
    assert list(layers.names(name)) == built_layers(name)


def test_names_of_all_backbones_are_known() -> None:
    """The file has one line per backbone, in the order of the catalog; a width has the layers of its backbone."""
    lines = layers.FILE.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [*backbones.BACKBONES]
    assert layers.names("mobilenet@0.25") == layers.names("mobilenet")
    assert layers.names("mobilenet")[:2] == ("conv1", "conv1_bn")
    assert layers.names("mobile") == ()


def test_check_unknown_layer_names_the_nearest_and_the_last() -> None:
    with pytest.raises(UnknownNameError) as caught:
        layers.check("layer of vgg16", "block5_conv4", "vgg16")
    assert str(caught.value) == "There is no layer of vgg16 called 'block5_conv4'. Did you mean block5_conv3?"
    assert str(caught.value.hint).startswith("The layers, from the last one: block5_pool, block5_conv3, block5_conv2,")
    layers.check("layer of vgg16", "block5_conv3", "vgg16")


def test_check_above_the_cut_is_unknown() -> None:
    layers.check("layer", "block3_conv1", "vgg16", below="block3_pool")
    with pytest.raises(UnknownNameError, match="'block4_conv1'"):
        layers.check("layer", "block4_conv1", "vgg16", below="block3_pool")


def test_check_network_that_is_not_in_the_catalog_is_left_to_the_network() -> None:
    layers.check("layer", "anything", "mine.keras")


def test_unknown_pooling_has_no_lasting_name() -> None:
    error = layers.unknown("layer of vgg16", "global_average_pooling2d_3", ["a", "b"])
    assert "has no lasting name" in str(error)
    assert error.hint == "Leave out --layer. The layers, from the last one: b, a."
