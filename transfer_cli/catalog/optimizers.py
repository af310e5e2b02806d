"""Keras optimizers of `finetune`, with the settings that each of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transfer_cli.catalog.lookup import lookup

_NOT_DECAYED = ("bias", "gamma", "beta")
"""Parts of the names of variables that weight decay leaves out: biases, and scale and shift of normalisation layers."""


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer.

    Attributes
    ----------
    name : str
    factory : str
        Its name in keras.optimizers.
    settings : mapping of str to float or bool
        Settings of a stage that it has beside the learning rate, with their defaults.
    decouples_decay : bool
        Whether weight decay is decoupled from the gradient; otherwise it is the gradient of an L2 penalty.
    """

    name: str
    factory: str
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    decouples_decay: bool = False

    def build(
        self,
        learning_rate: float,
        settings: Mapping[str, float | bool],
        *,
        clip: float | None = None,
        rates: Sequence[float] | None = None,
    ) -> Any:
        """Return the Keras optimizer; `settings` override the defaults.

        Weight decay of AdamW is decoupled: a weight shrinks by ``learning_rate * weight_decay`` of itself per step
        (Loshchilov and Hutter 2019). The others add ``weight_decay * weight`` to the gradient, after it was clipped, as
        an L2 penalty of ``weight_decay / 2`` on the weights does. Biases and normalisation parameters do not decay.

        Parameters
        ----------
        learning_rate : float
        settings : mapping
        clip : float, optional
            Largest global norm of the gradients of a step.
        rates : sequence of float, optional
            Factor of the learning rate for each variable, in the order of the variables (discriminative learning
            rates). Decoupled weight decay uses the learning rate itself.
        """
        import keras

        kind, arguments = getattr(keras.optimizers, self.factory), {**self.settings, **settings}
        # Keras would decouple the weight decay of every optimizer.
        penalty = 0.0 if self.decouples_decay else arguments.pop("weight_decay", 0.0)
        if rates is not None:
            kind = _discriminative(kind, rates)
        if penalty:
            kind = _penalised(kind, penalty)
        optimizer = kind(learning_rate, **arguments, global_clipnorm=clip)
        if self.decouples_decay:
            optimizer.exclude_from_weight_decay(var_names=[*_NOT_DECAYED])
        return optimizer


def _discriminative(kind: type[Any], rates: Sequence[float]) -> type[Any]:
    class Discriminative(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = rates[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * rate)

    return Discriminative


def _penalised(kind: type[Any], weight_decay: float) -> type[Any]:
    class Penalised(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            name = self._trainable_variables[self._get_variable_index(variable)].name
            if not any(word in name for word in _NOT_DECAYED):
                gradient = gradient + weight_decay * variable
            super().update_step(gradient, variable, learning_rate)

    return Penalised


def find(name: str) -> OptimizerSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(OPTIMIZERS, "optimizer", name)


_ROWS = (
    OptimizerSpec("sgd", "SGD", {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
    OptimizerSpec("rmsprop", "RMSprop", {"momentum": 0.0, "weight_decay": 0.0}),
    OptimizerSpec("adam", "Adam", {"weight_decay": 0.0}),
    OptimizerSpec("adamw", "AdamW", {"weight_decay": 0.01}, decouples_decay=True),
)
OPTIMIZERS = {row.name: row for row in _ROWS}
SETTINGS = sorted({word for row in _ROWS for word in row.settings})
