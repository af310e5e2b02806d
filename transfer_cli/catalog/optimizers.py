"""Keras optimizers of `finetune`, with the settings that each of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transfer_cli.catalog.lookup import lookup


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
    """

    name: str
    factory: str
    settings: Mapping[str, float | bool] = field(default_factory=dict)

    def build(
        self,
        learning_rate: float,
        settings: Mapping[str, float | bool],
        *,
        clip: float | None = None,
        rates: Sequence[float] | None = None,
    ) -> Any:
        """Return the Keras optimizer; `settings` override the defaults.

        Weight decay is decoupled (Loshchilov and Hutter 2019) and not applied to biases and normalisation parameters.

        Parameters
        ----------
        learning_rate : float
        settings : mapping
        clip : float, optional
            Largest global norm of the gradients of a step.
        rates : sequence of float, optional
            Factor of the learning rate for each variable, in the order of the variables (discriminative learning
            rates). Weight decay uses the learning rate itself.
        """
        import keras

        kind = getattr(keras.optimizers, self.factory)
        if rates is not None:
            kind = _discriminative(kind, rates)
        optimizer = kind(learning_rate, **{**self.settings, **settings}, global_clipnorm=clip)
        if "weight_decay" in self.settings:
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer


def _discriminative(kind: type[Any], rates: Sequence[float]) -> type[Any]:
    class Discriminative(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = rates[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * rate)

    return Discriminative


def find(name: str) -> OptimizerSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(OPTIMIZERS, "optimizer", name)


_ROWS = (
    OptimizerSpec("sgd", "SGD", {"momentum": 0.9, "nesterov": False}),
    OptimizerSpec("rmsprop", "RMSprop", {"momentum": 0.0}),
    OptimizerSpec("adam", "Adam"),
    OptimizerSpec("adamw", "AdamW", {"weight_decay": 0.01}),
)
OPTIMIZERS = {row.name: row for row in _ROWS}
SETTINGS = sorted({word for row in _ROWS for word in row.settings})
