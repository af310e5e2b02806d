"""Small Keras networks as users make them, and files of them that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

SIDE = 32


def maps_of(images: Any) -> Any:
    """Return a feature map of shape (16, 16, 8)."""
    keras.utils.set_random_seed(3)
    maps = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(images)
    return layers.Conv2D(8, 3, padding="same", activation="relu")(layers.BatchNormalization()(maps))


def functional(body: Callable[[Any], Any], *shape: int | None) -> keras.Model:
    """Return a network from an input, by default of images, to what `body` makes of it."""
    images = keras.Input(shape or (SIDE, SIDE, 3))
    return keras.Model(images, body(images))


def nested() -> keras.Model:
    """Return a classifier as in the guides of Keras: augmentation, rescaling, a network as one layer, a new head."""
    keras.utils.set_random_seed(5)
    inner = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Conv2D(4, 3, strides=2, name="conv")], name="inner")
    base = keras.Sequential([inner, layers.BatchNormalization(), layers.Conv2D(8, 3, name="conv")], name="base")
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="augmentation")
    network = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            augmentation,
            layers.Rescaling(1 / 127.5, offset=-1),
            base,
            layers.ReLU(name="last_map"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax", name="logits"),
        ]
    )
    # As after a training: the file then has settings of the optimizer.
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def use_weights_of(keras_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keras.applications, which reads KERAS_HOME when it is imported, and the catalog find weights in a folder."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(keras_home))
    monkeypatch.setenv("KERAS_HOME", str(keras_home))


def save(network: keras.Model, folder: Path, name: str = "own.keras") -> Path:
    """Save a network, and return its file."""
    network.save(folder / name)
    return folder / name
