"""Optimizers with weight decay take the steps of Keras with the same values."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog import optimizers

RATE, DECAY, STEPS = 0.05, 0.1, 3
OWN = {"sgd": {"momentum": 0.9, "nesterov": True}, "rmsprop": {"momentum": 0.5}, "adam": {}}


def network(penalty: float = 0.0, where: str = "kernel") -> keras.Model:
    """Return a small network; Keras penalises its kernels, or its kernels and biases."""
    keras.utils.set_random_seed(4)
    l2 = keras.regularizers.L2(penalty) if penalty else None
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                5,
                kernel_regularizer=l2,
                bias_regularizer=l2 if where == "all" else None,
                bias_initializer="ones",
                name="hidden",
            ),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, kernel_regularizer=l2, bias_initializer="ones", name="last"),
        ]
    )


def steps(network: keras.Model, optimizer: Any) -> list[NDArray[np.float32]]:
    """Return the weights after a few steps on random numbers."""
    random = np.random.default_rng(3)
    for _ in range(STEPS):
        inputs, targets = random.random((6, 3), np.float32), random.random((6, 2), np.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((network(inputs, training=True) - targets) ** 2)
            loss = tf.add_n([loss, *network.losses])
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
    return [np.asarray(variable) for variable in network.trainable_variables]


def differ(one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]) -> float:
    return max(float(np.abs(first - second).max()) for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("name", OWN)
def test_weight_decay_is_the_l2_penalty_of_keras(name: str) -> None:
    row = optimizers.find(name)
    decayed = steps(network(), row.build(RATE, {**OWN[name], "weight_decay": DECAY}))

    def of_keras(penalty: float, where: str = "kernel", **settings: Any) -> list[NDArray[np.float32]]:
        own = getattr(keras.optimizers, row.factory)(RATE, **OWN[name], **settings)
        return steps(network(penalty, where), own)

    assert differ(decayed, of_keras(DECAY / 2)) < 1e-5
    # The twins: another factor, biases that decay, Keras' decoupled decay, none.
    assert differ(decayed, of_keras(DECAY)) > 1e-3
    assert differ(decayed, of_keras(DECAY / 2, "all")) > 1e-4
    assert differ(decayed, of_keras(0.0, weight_decay=DECAY)) > 1e-3
    assert differ(decayed, of_keras(0.0)) > 1e-3
    assert differ(steps(network(), row.build(RATE, OWN[name])), of_keras(0.0)) == 0


def test_weight_decay_of_adamw_is_that_of_keras() -> None:
    own = keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    own.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    decayed = steps(network(), optimizers.find("adamw").build(RATE, {"weight_decay": DECAY}))
    assert differ(decayed, steps(network(), own)) == 0
    assert differ(decayed, steps(network(), optimizers.find("adam").build(RATE, {"weight_decay": DECAY}))) > 1e-3


@pytest.mark.parametrize("name", [*OWN, "adamw"])
def test_weight_decay_alone_moves_kernels_only(name: str) -> None:
    small = network()
    optimizer = optimizers.find(name).build(RATE, {"weight_decay": DECAY}, rates=[1.0] * 6, clip=1.0)
    variables = small.trainable_variables
    before = {variable.path: np.asarray(variable) for variable in variables}
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros_like(variable) for variable in variables], variables)
    moved = [variable for variable in variables if not np.array_equal(variable, before[variable.path])]
    assert [variable.path.split("/")[-2:] for variable in moved] == [["hidden", "kernel"], ["last", "kernel"]]


def test_weight_decay_of_a_lower_layer_follows_its_learning_rate() -> None:
    small = network()
    optimizer = optimizers.find("sgd").build(RATE, {"weight_decay": DECAY}, rates=[0.5, 1, 1, 1, 1, 1])
    lower, upper = (np.asarray(small.get_layer(name).kernel) for name in ("hidden", "last"))
    optimizer.build(small.trainable_variables)
    optimizer.apply(
        [keras.ops.zeros_like(variable) for variable in small.trainable_variables], small.trainable_variables
    )
    np.testing.assert_allclose(small.get_layer("hidden").kernel, lower * (1 - 0.5 * RATE * DECAY), rtol=1e-6)
    np.testing.assert_allclose(small.get_layer("last").kernel, upper * (1 - RATE * DECAY), rtol=1e-6)
