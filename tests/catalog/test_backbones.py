"""Each row of the catalog is compared with Keras."""

from __future__ import annotations

from typing import Any

import pytest

from transfer_cli.catalog.backbones import BACKBONES, CLASS_INDEX, BackboneSpec, find, names
from transfer_cli.errors import UnknownNameError, WeightsError

ALL = [pytest.param(find(name), id=name) for name in names()]
PRETRAINED = [spec for spec in ALL if spec.values[0].has_imagenet]
TEXTBOOK = [spec for spec in ALL if not spec.values[0].is_pretrained]


class DownloadError(Exception):
    """Raised in place of a download."""


def test_backbones_are_all_of_keras_one_embedded_and_three_textbook_networks() -> None:
    import keras

    factories = {name for name in dir(keras.applications) if name[0].isupper()}
    pretrained = {spec.factory for spec in BACKBONES.values() if spec.has_imagenet}
    assert pretrained == factories
    assert len(pretrained) == 40
    assert BACKBONES.keys() - {name for name, spec in BACKBONES.items() if spec.has_imagenet} == {
        "alexnet",
        "embedded",
        "lenet5",
        "small_cnn",
    }


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("spec", [spec for spec in PRETRAINED if spec.values[0].parameters < 6e6])
def test_weights_file_small_backbone_is_the_one_that_keras_downloads(
    spec: BackboneSpec, top: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_weights_files(spec, top, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("spec", [spec for spec in PRETRAINED if spec.values[0].parameters >= 6e6])
def test_weights_file_large_backbone_is_the_one_that_keras_downloads(
    spec: BackboneSpec, top: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_weights_files(spec, top, monkeypatch)


def check_weights_files(spec: BackboneSpec, top: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    from keras.src.utils import file_utils

    downloads: list[tuple[str, str, str | None]] = []

    def get_file(fname: str, origin: str, **options: Any) -> str:
        downloads.append((fname, origin, options.get("file_hash")))
        raise DownloadError

    monkeypatch.setattr(file_utils, "get_file", get_file)
    width = {"alpha": spec.alpha} if spec.alphas else {}
    with pytest.raises(DownloadError):
        getattr(keras.applications, spec.factory)(
            weights="imagenet", include_top=top, input_shape=(spec.size, spec.size, 3), **width
        )
    keras.backend.clear_session()
    file = spec.weights_file(top=top, size=spec.size)
    assert downloads == [(file.name, file.url, file.digest)]


def test_class_index_is_the_one_that_keras_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.applications import imagenet_utils

    assert CLASS_INDEX.url == imagenet_utils.CLASS_INDEX_PATH


@pytest.mark.slow
@pytest.mark.parametrize("spec", ALL)
def test_row_parameters_and_multiply_adds_equal_keras(spec: BackboneSpec) -> None:
    import keras

    from transfer_cli.models.backbone import build_bare
    from transfer_cli.models.layer_summary import layer_table

    table = layer_table(build_bare(spec))
    assert sum(row.parameters for row in table) == spec.parameters
    assert sum(row.multiply_adds for row in table) == spec.multiply_adds
    keras.backend.clear_session()


def check_top_layers(spec: BackboneSpec) -> None:
    """Compare the names of the classification layers with those that Keras adds for them."""
    import keras

    from transfer_cli.models.backbone import _application, build_bare

    whole = [layer.name for layer in build_bare(spec).layers]
    features = _application(spec, include_top=False, input_shape=(spec.size, spec.size, 3))
    below = {layer.name for layer in features.layers}
    assert {*spec.top_layers} <= {*whole} - below
    assert [name for name in whole if name in spec.top_layers] == [*spec.top_layers]
    keras.backend.clear_session()


@pytest.mark.parametrize("name", ["mobilenet@0.25", "mobilenet_v3_small"])
def test_top_layers_are_those_of_keras(name: str) -> None:
    check_top_layers(find(name))


@pytest.mark.slow
@pytest.mark.parametrize("spec", PRETRAINED)
def test_top_layers_of_all_rows_are_those_of_keras(spec: BackboneSpec) -> None:
    check_top_layers(spec)


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


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v3_small", "mobilenet_v2@0.35"])
def test_parameters_below_top_equal_keras(name: str) -> None:
    check_below_top(find(name))


@pytest.mark.slow
@pytest.mark.parametrize("spec", PRETRAINED)
def test_parameters_below_top_of_every_backbone_equal_keras(spec: BackboneSpec) -> None:
    check_below_top(spec)


def check_below_top(spec: BackboneSpec) -> None:
    import keras

    width = {"alpha": spec.alpha} if spec.alphas else {}
    shape = (spec.size, spec.size, 3)
    below = getattr(keras.applications, spec.factory)(weights=None, include_top=False, input_shape=shape, **width)
    assert below.count_params() == spec.parameters_below_top
    assert below.output_shape[-1] == spec.width
    keras.backend.clear_session()


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
        ("MobileNet@0.25", "Did you mean mobilenet@0.25?"),
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
