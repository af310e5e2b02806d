"""The logits of a network that ends in a softmax."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.explain.example_models import noise
from transfer_cli.catalog import explainers
from transfer_cli.errors import ModelError
from transfer_cli.explain.class_logits import imagenet_logits
from transfer_cli.explain.explainable import Explainable, explain_images


def network(ending: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    maps = keras.layers.Conv2D(4, 3)(keras.ops.cast(inputs, "float32") / 255)
    features = keras.layers.GlobalAveragePooling2D()(maps)
    if ending == "activation":
        return keras.Model(inputs, keras.layers.Activation("softmax")(keras.layers.Dense(5)(features)))
    return keras.Model(inputs, keras.layers.Dense(5, activation=ending)(features))


@pytest.mark.parametrize("ending", ["softmax", "activation"])
def test_imagenet_logits_softmax_of_them_is_output(ending: str) -> None:
    whole = network(ending)
    images = noise(4, 8)
    below, logit = imagenet_logits(whole)
    outputs = below(images)
    columns = np.arange(5)
    logits = np.stack([np.asarray(logit(outputs, np.full(4, column))) for column in columns], axis=1)
    np.testing.assert_allclose(keras.ops.softmax(logits), whole(images), atol=1e-6)


def test_imagenet_logits_other_activation_is_error() -> None:
    with pytest.raises(ModelError, match="does not end in a softmax"):
        imagenet_logits(network("sigmoid"))


def test_explain_images_imagenet_network_maps_differ_per_class(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    opened = Explainable.open("imagenet:mobilenet@0.25", offline=True)
    assert opened.method.name == explainers.GRAD_CAM
    assert len(opened.model.class_names) == 1000
    images = noise(2, 224)
    maps = [explain_images(opened, images, np.full(2, column)) for column in (3, 700)]
    assert maps[0].shape == (2, 7, 7)
    assert max(each.max() for each in maps) == 1
    assert np.abs(maps[0] - maps[1]).max() > 0.1
