"""Each row of the catalog is compared with Keras."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras
import pytest
from keras.src.utils import file_utils

from transfer_cli.catalog.backbones import BACKBONES, CLASS_INDEX, BackboneSpec, find, names
from transfer_cli.errors import UnknownNameError, WeightsError
from transfer_cli.models.backbone import build_bare
from transfer_cli.models.layer_summary import LayerRow, layer_table

QUICK = ("mobilenet@0.25", "mobilenet_v3_small")
ALL = [find(name) for name in names()]
PRETRAINED = [
    pytest.param(spec, id=spec.name, marks=[] if spec.name in QUICK else pytest.mark.slow)
    for spec in ALL
    if spec.has_imagenet
]
TEXTBOOK = [pytest.param(spec, id=spec.name) for spec in ALL if not (spec.is_pretrained or spec.is_handcrafted)]


@dataclass(frozen=True)
class KerasNetwork:
    """What Keras downloads for a row of the catalog, with and without its head, and the networks that it builds."""

    downloads: dict[bool, tuple[str, str, str | None]]
    whole: list[LayerRow]
    below: list[str]
    parameters_below_top: int
    width: int


@functools.cache
def keras_network(name: str) -> KerasNetwork:
    """Build both networks once, without values of their weights; nothing is downloaded."""
    spec = find(name)
    downloads: dict[bool, tuple[str, str, str | None]] = {}
    networks = {}
    keras.backend.clear_session()  # Keras numbers layers without a name of their own
    width = {"alpha": spec.alpha} if spec.alphas else {}
    for top in (True, False):

        def get_file(fname: str, origin: str, file_hash: str | None = None, top: bool = top, **options: Any) -> str:
            assert top not in downloads
            downloads[top] = (fname, origin, file_hash)
            return fname

        with pytest.MonkeyPatch.context() as patch, keras.StatelessScope(initialize_variables=False):
            patch.setattr(file_utils, "get_file", get_file)
            patch.setattr(keras.Model, "load_weights", lambda model, path, **options: None)
            networks[top] = getattr(keras.applications, spec.factory)(
                weights="imagenet", include_top=top, input_shape=(spec.size, spec.size, 3), **width
            )
    below = networks[False]
    found = KerasNetwork(
        downloads,
        whole=layer_table(networks[True]),
        below=[layer.name for layer in below.layers],
        parameters_below_top=below.count_params(),
        width=below.output_shape[-1],
    )
    keras.backend.clear_session()
    return found


def test_backbones_are_all_of_keras_one_embedded_three_textbook_networks_and_two_without_learning() -> None:
    factories = {name for name in dir(keras.applications) if name[0].isupper()}
    pretrained = {spec.factory for spec in BACKBONES.values() if spec.has_imagenet}
    assert pretrained == factories
    assert len(pretrained) == 40
    assert BACKBONES.keys() - {name for name, spec in BACKBONES.items() if spec.has_imagenet} == {
        "alexnet",
        "embedded",
        "hog",
        "lenet5",
        "pixels",
        "small_cnn",
    }


@pytest.mark.parametrize("spec", PRETRAINED)
def test_weights_files_are_those_that_keras_downloads(spec: BackboneSpec) -> None:
    files = {top: spec.weights_file(top=top, size=spec.size) for top in (False, True)}
    assert keras_network(spec.name).downloads == {
        top: (file.name, file.url, file.digest) for top, file in files.items()
    }


def test_class_index_is_the_one_that_keras_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.applications import imagenet_utils

    assert CLASS_INDEX.url == imagenet_utils.CLASS_INDEX_PATH


@pytest.mark.parametrize("name", QUICK)
def test_layer_table_equals_keras(name: str) -> None:
    """The table that `backbones show` prints is the one of the network of Keras."""
    table = keras_network(name).whole
    keras.backend.clear_session()
    assert layer_table(build_bare(find(name))) == table


@pytest.mark.parametrize("spec", PRETRAINED)
def test_parameters_and_multiply_adds_equal_keras(spec: BackboneSpec) -> None:
    table = keras_network(spec.name).whole
    assert sum(row.parameters for row in table) == spec.parameters
    assert sum(row.multiply_adds for row in table) == spec.multiply_adds


@pytest.mark.parametrize("spec", PRETRAINED)
def test_top_layers_are_those_that_keras_adds(spec: BackboneSpec) -> None:
    network = keras_network(spec.name)
    whole = [row.name for row in network.whole]
    assert {*spec.top_layers} <= {*whole} - {*network.below}
    assert [name for name in whole if name in spec.top_layers] == [*spec.top_layers]


@pytest.mark.parametrize("spec", PRETRAINED)
def test_parameters_and_width_below_top_equal_keras(spec: BackboneSpec) -> None:
    network = keras_network(spec.name)
    assert network.parameters_below_top == spec.parameters_below_top
    assert network.width == spec.width


@pytest.mark.parametrize(
    ("layer", "weights", "size", "expected"),
    [
        ("fc2", "imagenet", 224, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        ("fc1", "imagenet", 224, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        ("block5_pool", "imagenet", 224, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        (None, "imagenet", 224, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("fc2", "imagenet", 160, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)
def test_feature_files_have_the_classification_layers_if_needed(
    layer: str | None, weights: str, size: int, expected: str
) -> None:
    from transfer_cli.models.weights.registry import feature_files

    spec = find("vgg16")
    assert [file.name for file in feature_files(spec, layer, size=size)] == [expected]
    assert spec.needs_top(layer, weights, size) == ("notop" not in expected)
    assert not spec.needs_top(layer, "none", size)


@pytest.mark.parametrize("spec", TEXTBOOK)
def test_weights_file_textbook_network_raises(spec: BackboneSpec) -> None:
    for top in (False, True):
        with pytest.raises(WeightsError, match=f"{spec.name} has no ImageNet weights") as caught:
            spec.weights_file(top=top, size=spec.size)
        assert f"--recipe {spec.name.replace('_', '-')}\n" in str(caught.value.hint)
        assert "--weights none" in str(caught.value.hint)


def test_find_accepts_widths_and_hyphens() -> None:
    narrow = find("mobilenet@0.25")
    assert (narrow.alpha, narrow.width, narrow.parameters, narrow.name) == (0.25, 256, 475_544, "mobilenet@0.25")
    assert find("mobilenet@1") is find("mobilenet")
    assert find("small-cnn") is find("small_cnn")
    assert find("mobilenet-v2@0.35") == find("mobilenet_v2@0.35")
    assert narrow.weights_file(top=False, size=160).name == "mobilenet_2_5_160_tf_no_top.h5"
    assert narrow.weights_file(top=False, size=200).name == "mobilenet_2_5_224_tf_no_top.h5"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-50", "There is no backbone called 'resnet-50'. Did you mean resnet50?"),
        ("vgg161", "Did you mean vgg16?"),
        ("MobileNet@0.25", "Did you mean mobilenet@0.25?"),
        ("resnet18", "Did you mean resnet50?"),
        ("ResNet-34", "Did you mean resnet50?"),
        ("resnet200", "Did you mean resnet152?"),
        ("resnet18_v2", "Did you mean resnet50_v2?"),
        ("efficientnet-b8", "Did you mean efficientnet_b7?"),
        ("vgg11", "Did you mean vgg16?"),
        ("densenet161", "Did you mean densenet169?"),
        ("MobileNetV2", "Did you mean mobilenet_v2?"),
        (
            "mobilenet@0.3",
            "no backbone mobilenet@0.3. Expected mobilenet, mobilenet@0.25, mobilenet@0.5, mobilenet@0.75.",
        ),
        ("resnet50@0.5", "There is no backbone resnet50@0.5. Expected resnet50."),
        ("mobilenet@wide", "There is no backbone mobilenet@wide."),
    ],
)
def test_find_unknown_name_suggests_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find(name)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
