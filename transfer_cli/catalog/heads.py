"""Heads of `finetune`: the layers that replace the classification layers of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transfer_cli.catalog.lookup import lookup

LINEAR = "linear"
PROBE = "probe"
RANDOM = "random"
MOST_HIDDEN_LAYERS = 8
_PARTS = ("head_hidden", "head_norm", "head_relu", "head_dropout")
_NORM_MOMENTUM = 0.9
"""Of the moving statistics. An epoch of a small folder has few steps: with 0.99, the default of Keras, the first epochs
would be scored with statistics that are nearly the initial ones."""


@dataclass(frozen=True)
class HeadSpec:
    """A head.

    Attributes
    ----------
    name : str
    build : callable
        ``build(features, classes, units, dropout, l2, batch_norm)`` maps a Keras tensor of shape (n, width) to logits
        of shape (n, classes); `units` are the widths of the hidden layers.
    units : int or None
        Default width of the only hidden layer; None if there is no hidden layer.
    pooling : str or None
        Pooling that this head needs; None if the recipe decides.
    starts : tuple of str
        Accepted initial weights, the default first: ``probe`` (a logistic regression on the features) or ``random``.
    """

    name: str
    build: Callable[[Any, int, Sequence[int], float, float, bool], Any]
    units: int | None
    pooling: str | None
    starts: tuple[str, ...]


def find(name: str) -> HeadSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(HEADS, "head", name)


def layer_names() -> tuple[str, ...]:
    """Return the names that layers of a head can have, with the input and the logits."""
    hidden = [_numbered(part, number) for part in _PARTS for number in range(1, MOST_HIDDEN_LAYERS + 1)]
    return ("features", *hidden, "logits")


def _numbered(part: str, number: int) -> str:
    return part if number == 1 else f"{part}_{number}"


def _dense(units: int, l2: float, name: str, **options: Any) -> Any:
    import keras

    # A regulariser of 0 would be computed in every step.
    regulariser = keras.regularizers.L2(l2) if l2 else None
    return keras.layers.Dense(units, kernel_regularizer=regulariser, name=name, **options)


def _dropped(features: Any, rate: float, number: int = 1) -> Any:
    import keras

    return keras.layers.Dropout(rate, name=_numbered("head_dropout", number))(features) if rate else features


def _linear(features: Any, classes: int, units: Sequence[int], dropout: float, l2: float, batch_norm: bool) -> Any:
    return _dense(classes, l2, "logits")(_dropped(features, dropout))


def _mlp(features: Any, classes: int, units: Sequence[int], dropout: float, l2: float, batch_norm: bool) -> Any:
    row = features
    for number, width in enumerate(units, start=1):
        row = _normalised(row, width, l2, number) if batch_norm else _hidden(row, width, l2, number)
        row = _dropped(row, dropout, number)
    return _dense(classes, l2, "logits")(row)


def _hidden(features: Any, width: int, l2: float, number: int) -> Any:
    return _dense(width, l2, _numbered("head_hidden", number), activation="relu")(features)


def _normalised(features: Any, width: int, l2: float, number: int) -> Any:
    import keras

    # The shift of BatchNorm replaces the bias.
    row = _dense(width, l2, _numbered("head_hidden", number), use_bias=False)(features)
    row = keras.layers.BatchNormalization(momentum=_NORM_MOMENTUM, name=_numbered("head_norm", number))(row)
    return keras.layers.ReLU(name=_numbered("head_relu", number))(row)


_ROWS = (
    # One dense layer on the pooled features.
    HeadSpec(LINEAR, _linear, None, None, (PROBE, RANDOM)),
    # Pooled features, hidden layers with ReLU, each with dropout, dense layer.
    HeadSpec("mlp", _mlp, 256, None, (RANDOM,)),
    # Flattened feature map, wide hidden layer with ReLU, dropout, dense layer (as in VGG16).
    HeadSpec("flatten-mlp", _mlp, 1024, "flatten", (RANDOM,)),
)
HEADS = {row.name: row for row in _ROWS}
