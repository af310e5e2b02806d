"""The sections of a recipe that say how a network is trained: stages, their end, what is kept of frozen layers."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from transfer_cli.catalog import optimizers
from transfer_cli.errors import nearest
from transfer_cli.recipe.sections import Choices, known

_UNFREEZE = re.compile(r"head|all|last:[1-9][0-9]{0,5}|last:([1-9][0-9]?|100)%|from:.+")
_EPOCHS, _MOST_EPOCHS, _LEAST_STEPS, _FOREVER = 20, 100, 300, 10_000
"""Of ``auto``: so many epochs, more where they would be too few steps to learn much; see docs/benchmarks.md."""
_ONE_CYCLE_RISE, _ONE_CYCLE_BEGIN = 0.3, 25


class Stage(Choices):
    """One stretch of training."""

    unfreeze: str
    """What learns beside the head: head (nothing), last:N or last:N% of the backbone's layers, from:LAYER, or all."""
    epochs: int | Literal["auto"]
    """How often every training picture is looked at; auto: 20, and up to 100 for fewer than 480 pictures."""
    learning_rate: float = Field(gt=0, le=10)
    """The highest of the stage."""
    optimizer: str = "adam"
    """sgd, rmsprop, adam or adamw: the rule by which weights follow their gradients, Keras's of that name."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """sgd (0.9 where it is not given) and rmsprop (0): how much of the last step goes into the next."""
    nesterov: bool | None = None
    """sgd: look ahead along the momentum first."""
    weight_decay: float | None = Field(default=None, ge=0)
    """adamw (0.01 where it is not given): pull weights towards zero, biases and scales of norms spared."""
    schedule: Literal["constant", "cosine", "one-cycle", "plateau"] = "constant"
    """cosine (Loshchilov and Hutter 2017) and one-cycle (Smith 2018) end at zero; plateau follows the loss on val."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the stage over which the learning rate first rises from zero (Goyal et al. 2017); one-cycle: 0.3."""
    plateau_patience: int = Field(default=2, ge=1)
    """plateau: after so many epochs without a lower log loss on val the learning rate is lowered."""
    plateau_factor: float = Field(default=0.3, gt=0, lt=1)
    """plateau: to this share of what it was."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of each layer with a kernel is that of the one above it times this (Howard and Ruder 2018)."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest norm of all gradients of a step together (Pascanu et al. 2013)."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of the moving average of the weights, which is what is scored and kept; 0: the weights as they are."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the truth spread evenly over all classes (Szegedy et al. 2016)."""

    @field_validator("epochs")
    @classmethod
    def _some(cls, epochs: int | str) -> int | str:
        if isinstance(epochs, int) and not 1 <= epochs <= _FOREVER:
            raise ValueError(f"expected auto or a number from 1 to {_FOREVER}. Received: {epochs}.")
        return epochs

    @field_validator("unfreeze")
    @classmethod
    def _says_which(cls, unfreeze: str) -> str:
        if _UNFREEZE.fullmatch(unfreeze):
            return unfreeze
        near = nearest(unfreeze, ("head", "all"))
        guess = f" Did you mean {near}?" if near else ""
        raise ValueError(f"expected head, last:N, last:N%, from:LAYER or all. Received: {unfreeze!r}.{guess}")

    @field_validator("optimizer")
    @classmethod
    def _in_catalog(cls, optimizer: str) -> str:
        return known(lambda: optimizers.find(optimizer).name)

    @model_validator(mode="after")
    def _fits_its_optimizer(self) -> Self:
        takes = optimizers.find(self.optimizer).words
        for word in optimizers.WORDS:
            if getattr(self, word) is not None and word not in takes:
                able = [name for name, row in optimizers.OPTIMIZERS.items() if word in row.words]
                raise ValueError(f"{self.optimizer} takes no {word}; {', '.join(able)} can")
        return self

    @model_validator(mode="after")
    def _fits_its_schedule(self) -> Self:
        for word in ("plateau_patience", "plateau_factor"):
            if self.schedule != "plateau" and getattr(self, word) != type(self).model_fields[word].default:
                raise ValueError(f"schedule {self.schedule} has no {word}; plateau has")
        return self

    def for_pictures(self, count: int, batch_size: int) -> Stage:
        """Return the stage with the epochs that ``auto`` is for so many training pictures."""
        if self.epochs != "auto":
            return self
        wanted = math.ceil(_LEAST_STEPS / math.ceil(count / batch_size))
        return self.model_copy(update={"epochs": min(max(_EPOCHS, wanted), _MOST_EPOCHS)})

    @property
    def length(self) -> int:
        """How many epochs it has, after `for_pictures`."""
        assert isinstance(self.epochs, int)
        return self.epochs

    @property
    def ends_at_zero(self) -> bool:
        """Whether its steps become small towards its end, before which val says little."""
        return self.schedule in ("cosine", "one-cycle")

    def learning_rate_at(self, done: float, reductions: int = 0) -> float:
        """Return the learning rate after `done` epochs of this stage, a fraction of one included.

        Parameters
        ----------
        done : float
        reductions : int
            How often a plateau has lowered it.
        """
        share, rise = done / self.length, self.warmup
        if self.schedule == "one-cycle":
            rise = rise or _ONE_CYCLE_RISE
            if share < rise:
                low = self.learning_rate / _ONE_CYCLE_BEGIN
                return low + (self.learning_rate - low) * (1 - math.cos(math.pi * share / rise)) / 2
        elif share < rise:
            return self.learning_rate * share / rise
        if not self.ends_at_zero:
            return self.learning_rate * self.plateau_factor**reductions
        return self.learning_rate * (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2

    def optimizer_words(self) -> dict[str, Any]:
        """Return what the recipe says of the optimizer beside its learning rate."""
        given = {word: getattr(self, word) for word in optimizers.WORDS}
        return {word: value for word, value in given.items() if value is not None}

    def summary(self) -> str:
        """Return what is trained, for a person."""
        kind, _, what = self.unfreeze.partition(":")
        layers = f"the last {what} of the layers" if what.endswith("%") else f"the last {what} layers"
        return {"head": "head", "all": "all layers", "last": layers, "from": f"from {what}"}[kind]


class EarlyStopping(Choices):
    """When a stage ends before its last epoch, and what is best."""

    patience: int = Field(default=5, ge=0)
    """A stage ends after so many epochs without a better val score; 0: never. A cosine counts in its last third."""
    monitor: Literal["accuracy", "balanced_accuracy", "mean_average_precision", "log_loss"] | None = None
    """What is compared on val: accuracy; with a `[balance]` balanced_accuracy; of labels mean_average_precision."""


class Refit(Choices):
    """Whether what was held out for val is learnt from as well, once val has said what is best."""

    when: Literal["auto", "always", "never"] = "auto"
    """auto: where a class has fewer than `below` pictures to learn from, on average."""
    below: int = Field(default=30, ge=1)
    """So many pictures a class are enough to do without."""


class Trunk(Choices):
    """What is kept of the layers below all that learns in a stage: they are run once, not in every epoch."""

    views: Literal["auto", "fresh"] | int = "auto"
    """Augmented views of each picture that are kept; auto: 8, or down to 4 that fit and are seen twice, else fresh."""
    gigabytes: float = Field(default=4, gt=0)
    """What the views of auto may take, of memory (2 GB at most) and of the disk beside the run."""

    @field_validator("views")
    @classmethod
    def _one_or_more(cls, views: str | int) -> str | int:
        if isinstance(views, int) and views < 1:
            raise ValueError(f"expected auto, fresh or a number from 1. Received: {views}.")
        return views
