"""Heads of `finetune`: the layers that replace the classification layers of a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transfer_cli.catalog.lookup import lookup

LINEAR = "linear"
PROBE = "probe"
RANDOM = "random"


@dataclass(frozen=True)
class HeadSpec:
    """A head.

    Attributes
    ----------
    name : str
    build : callable
        ``build(features, classes, units, dropout, l2)`` maps a Keras tensor of shape (n, width) to logits of shape
        (n, classes).
    units : int or None
        Default width of the hidden layer; None if there is no hidden layer.
    pooling : str or None
        Pooling that this head needs; None if the recipe decides.
    starts : tuple of str
        Accepted initial weights, the default first: ``probe`` (a logistic regression on the features) or ``random``.
    """

    name: str
    build: Callable[[Any, int, int, float, float], Any]
    units: int | None
    pooling: str | None
    starts: tuple[str, ...]


def find(name: str) -> HeadSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(HEADS, "head", name)


def _dense(units: int, l2: float, name: str, activation: str | None = None) -> Any:
    import keras

    # A regulariser of 0 would be computed in every step.
    regulariser = keras.regularizers.L2(l2) if l2 else None
    return keras.layers.Dense(units, activation=activation, kernel_regularizer=regulariser, name=name)


def _dropped(features: Any, rate: float) -> Any:
    import keras

    return keras.layers.Dropout(rate, name="head_dropout")(features) if rate else features


def _linear(features: Any, classes: int, units: int, dropout: float, l2: float) -> Any:
    return _dense(classes, l2, "logits")(_dropped(features, dropout))


def _mlp(features: Any, classes: int, units: int, dropout: float, l2: float) -> Any:
    hidden = _dense(units, l2, "head_hidden", "relu")(features)
    return _dense(classes, l2, "logits")(_dropped(hidden, dropout))


_ROWS = (
    # One dense layer on the pooled features.
    HeadSpec(LINEAR, _linear, None, None, (PROBE, RANDOM)),
    # Pooled features, hidden layer with ReLU, dropout, dense layer.
    HeadSpec("mlp", _mlp, 256, None, (RANDOM,)),
    # Flattened feature map, wide hidden layer with ReLU, dropout, dense layer (as in VGG16).
    HeadSpec("flatten-mlp", _mlp, 1024, "flatten", (RANDOM,)),
)
HEADS = {row.name: row for row in _ROWS}
