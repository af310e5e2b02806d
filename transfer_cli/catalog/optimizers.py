"""The optimizers of `finetune`, one row each: Keras's, with the words each of them takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transfer_cli.errors import UnknownNameError


@dataclass(frozen=True)
class OptimizerSpec:
    """What the catalog knows of an optimizer.

    Attributes
    ----------
    name : str
    factory : str
        Its name in keras.optimizers.
    words : mapping of str to float or bool
        The words of a stage that it takes beside the learning rate, with their defaults.
    """

    name: str
    factory: str
    words: Mapping[str, float | bool] = field(default_factory=dict)

    def build(
        self,
        learning_rate: float,
        words: Mapping[str, float | bool],
        *,
        clip: float | None = None,
        rates: Sequence[float] | None = None,
    ) -> Any:
        """Return the optimizer; `words` override the defaults of the row.

        Weight decay is decoupled (Loshchilov and Hutter 2019) and spares biases and the scales of norms, which it would
        only pull away from where they do their work.

        Parameters
        ----------
        learning_rate : float
        words : mapping
        clip : float, optional
            Largest norm of all gradients of a step together.
        rates : sequence of float, optional
            What the learning rate is multiplied by for each variable that the optimizer is built for, in their order.
            Weight decay keeps the learning rate itself.
        """
        import keras

        kind = getattr(keras.optimizers, self.factory)
        if rates is not None:
            kind = _discriminative(kind, rates)
        optimizer = kind(learning_rate, **{**self.words, **words}, global_clipnorm=clip)
        if "weight_decay" in self.words:
            optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer


def _discriminative(kind: type[Any], rates: Sequence[float]) -> type[Any]:
    class Discriminative(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = rates[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * rate)

    return Discriminative


def find(name: str) -> OptimizerSpec:
    """Return the row called `name`; raise UnknownNameError when there is none."""
    if name not in OPTIMIZERS:
        raise UnknownNameError.of("optimizer", name, OPTIMIZERS, f"Expected one of {', '.join(OPTIMIZERS)}.")
    return OPTIMIZERS[name]


_ROWS = (
    OptimizerSpec("sgd", "SGD", {"momentum": 0.9, "nesterov": False}),
    OptimizerSpec("rmsprop", "RMSprop", {"momentum": 0.0}),
    OptimizerSpec("adam", "Adam"),
    OptimizerSpec("adamw", "AdamW", {"weight_decay": 0.01}),
)
OPTIMIZERS = {row.name: row for row in _ROWS}
WORDS = sorted({word for row in _ROWS for word in row.words})
