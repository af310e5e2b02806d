"""Gradients at a layer, and the Grad-CAM maps of all backbone families."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.explain.example_models import column_of, noise
from tests.live_networks import alive, wake
from transfer_cli.catalog import explainers
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import ModelError, UnknownNameError
from transfer_cli.explain.feature_maps import find_feature_map
from transfer_cli.explain.grad_cam import Gradients
from transfer_cli.models.backbone import build

GRAD_CAM = explainers.find(explainers.GRAD_CAM)
SIDE = 96
FAMILIES = {
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnet_v2": "efficientnet_v2_b0",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "mobilenet": "mobilenet@0.25",
    "mobilenet_v2": "mobilenet_v2@0.35",
    "mobilenet_v3": "mobilenet_v3_small",
    "nasnet": "nasnet_mobile",
    "resnet": "resnet50",
    "resnet_v2": "resnet50_v2",
    "vgg": "vgg16",
    "xception": "xception",
    "textbook": "lenet5",
}
FAST = ("mobilenet", "mobilenet_v3", "textbook", "vgg")


def signed_column_of(outputs: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """Return the evidence for classes 0, 1 and 2, and as columns 3, 4 and 5 the evidence against them."""
    sign = keras.ops.where(columns < 3, 1.0, -1.0)
    return column_of(outputs, columns % 3) * sign


def test_grad_cam_average_pooling_and_linear_classifier_equals_cam() -> None:
    """Zhou et al. 2016: the feature maps weighted by the classifier's row; another class's row must differ."""
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, seed=1)
    images = noise(6, SIDE)
    wake(network, images)
    rows = np.random.default_rng(2).normal(size=(4, 256)).astype(np.float32)
    kernel = keras.ops.convert_to_tensor(rows)
    gradients = Gradients.build(
        network, lambda outputs, columns: keras.ops.sum(outputs * keras.ops.take(kernel, columns, axis=0), axis=1)
    )
    assert gradients.shape == (3, 3, 256)
    activations = keras.Model(network.inputs[0], network.get_layer(gradients.layer).output)(images)
    maps = gradients.maps(images, np.tile([1, 3], (6, 1)), GRAD_CAM)
    for number, column in enumerate((1, 3)):
        expected = np.maximum(np.asarray(activations) @ rows[column], 0) / 9
        np.testing.assert_allclose(maps[:, number], expected, rtol=1e-3, atol=1e-5)
        assert not np.allclose(maps[:, 1 - number], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("family", FAST)
def test_grad_cam_fast_family_has_maps(family: str) -> None:
    check_family(FAMILIES[family])


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in FAST])
def test_grad_cam_other_family_has_maps(family: str) -> None:
    check_family(FAMILIES[family])


def check_family(name: str) -> None:
    """Check the maps of a network that distinguishes images: finite, different per class, not empty.

    The map of a class may be empty if nothing supports it; then the map of the evidence against it must not be.
    """
    spec = find(name)
    images = noise(6, max(SIDE, spec.min_size))
    images[::2] //= 2
    for number, image in enumerate(images):
        image[:, :, number % 3] //= 4
    gradients = Gradients.build(alive(spec, images), signed_column_of)
    maps = gradients.maps(images, np.tile([0, 1, 2, 3, 4, 5], (6, 1)), GRAD_CAM)
    assert min(gradients.shape[:2]) > 1
    assert np.isfinite(maps).all()
    assert (np.maximum(maps[:, :3], maps[:, 3:]).max(axis=(2, 3)) > 0).all()
    assert np.abs(maps[:, 0] - maps[:, 1]).max() > 1e-3 * maps.max()
    keras.backend.clear_session()


@pytest.mark.parametrize(
    ("pooling", "layer", "expected"),
    [
        ("flatten", None, ("conv_pw_13_relu", (3, 3, 256))),
        ("max", None, ("conv_pw_13_relu", (3, 3, 256))),
        ("avg", "conv_pw_6_relu", ("conv_pw_6_relu", (6, 6, 128))),
    ],
)
def test_gradients_any_pooling_use_last_feature_map(
    pooling: str, layer: str | None, expected: tuple[str, tuple[int, ...]]
) -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=SIDE, pooling=pooling, layer=layer)
    gradients = Gradients.build(network, column_of)
    assert (gradients.layer, gradients.shape) == expected


def test_gradients_feature_map_of_one_position_is_skipped() -> None:
    network = build(find("mobilenet@0.25"), weights="none", size=32)
    assert Gradients.build(network, column_of).layer == "conv_pw_11_relu"


@pytest.mark.integration
def test_gradients_layer_inside_a_block_is_used() -> None:
    network = build(find("mobilenet_v2@0.35"), weights="none", size=SIDE)
    gradients = Gradients.build(network, column_of, "block_15_expand_relu")
    images = noise(2, SIDE)
    wake(network, images)
    maps = gradients.maps(images, np.array([[0], [1]]), GRAD_CAM)
    assert maps.shape == (2, 1, 3, 3)
    assert np.isfinite(maps).all()
    with pytest.raises(UnknownNameError, match="Did you mean block_15_expand_relu"):
        Gradients.build(network, column_of, "block_15_expand_rel")
    with pytest.raises(UnknownNameError):
        find_feature_map(network, "avg_features")


def test_gradients_network_without_feature_map_is_error() -> None:
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    rows = keras.layers.Dense(2)(keras.layers.Flatten()(keras.ops.cast(inputs, "float32")))
    with pytest.raises(ModelError, match="no feature map larger than 1 x 1"):
        Gradients.build(keras.Model(inputs, rows), column_of)
