"""Sections of a recipe about training: stages, early stopping, refit, cached frozen features."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from transfer_cli.catalog import optimizers
from transfer_cli.errors import UnknownNameError, did_you_mean
from transfer_cli.recipe.sections import Choices, Count, NonNegative, Positive, Share, name_in

NORMS_AND_BIASES = "norms-and-biases"
"""``unfreeze`` of a stage that trains scale and shift of the normalisation layers, and all biases."""
_UNFREEZE = re.compile(rf"head|all|{NORMS_AND_BIASES}|last:[1-9][0-9]{{0,5}}|last:([1-9][0-9]?|100)%|from:.+")
_BITFIT = {"norm", "norms", "bias", "biases", "bitfit", "batchnorm", "bn", "layernorm"}
"""Other words for norms-and-biases."""
_EPOCHS, _MAX_AUTO_EPOCHS, _MIN_STEPS = 20, 100, 300
"""``epochs = "auto"``: 20 epochs, more if these are fewer than 300 steps, at most 100 (docs/benchmarks.md)."""
_ONE_CYCLE_RISE, _ONE_CYCLE_BEGIN = 0.3, 25


class Stage(Choices):
    """One stage of training: which layers train, for how long, at which learning rate."""

    unfreeze: str = Field(
        description="Layers that train besides the head: head (none), last:N or last:N% of the backbone's layers, "
        "from:LAYER, or all; norms-and-biases: of all layers only the scale and shift of normalisation layers and the "
        "biases (BitFit, Ben Zaken et al. 2022)."
    )
    epochs: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = Field(
        description="Passes over the training images. auto: 20, and up to 100 if there are fewer than 480 images."
    )
    learning_rate: float = Field(gt=0, le=10, description="Peak learning rate of the stage.")
    optimizer: Annotated[str, name_in(optimizers.find)] = Field(
        default="adam", description="sgd, rmsprop, adam or adamw, as in Keras."
    )
    momentum: Share | None = Field(default=None, description="sgd (default 0.9) and rmsprop (default 0): momentum.")
    nesterov: bool | None = Field(default=None, description="sgd: use Nesterov momentum.")
    weight_decay: NonNegative | None = Field(
        default=None,
        description="Weight decay, except of biases and normalisation. adamw (default 0.01): decoupled; sgd, rmsprop "
        "and adam (default 0): L2, weight_decay * weight is added to the gradient (in Keras: "
        "regularizers.L2(weight_decay / 2)).",
    )
    schedule: Literal["constant", "cosine", "one-cycle", "plateau", "inverse-time"] = Field(
        default="constant",
        description="Learning-rate schedule. cosine (Loshchilov and Hutter 2017) and one-cycle (Smith 2018) "
        "end at zero; plateau follows the validation loss; inverse-time: see `inverse_time_decay`.",
    )
    warmup: Share = Field(
        default=0.0,
        description="Share of the stage with a rising learning rate (Goyal et al. 2017). one-cycle: 0.3 by default.",
    )
    plateau_patience: Count = Field(
        default=2, description="plateau: epochs without a lower validation loss before the learning rate is reduced."
    )
    plateau_factor: float = Field(
        default=0.3, gt=0, lt=1, description="plateau: factor by which the learning rate is reduced."
    )
    inverse_time_decay: Positive | None = Field(
        default=None,
        description="inverse-time: the learning rate is divided by 1 + inverse_time_decay * step, where step counts "
        "the optimizer steps of the stage after its warm-up (`decay` of old Keras optimizers; in Keras 3: "
        "InverseTimeDecay with decay_rate / decay_steps). 0.001 halves it in 1000 steps.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Layer-wise learning-rate decay: factor from layer to layer (Howard and Ruder 2018).",
    )
    gradient_clip: Positive | None = Field(
        default=None, description="Maximum global norm of the gradients of a step (Pascanu et al. 2013)."
    )
    ema: Share = Field(
        default=0.0, description="Decay of the exponential moving average of the weights, which is saved. 0: off."
    )
    label_smoothing: Share = Field(
        default=0.0, description="Label smoothing: share of the target spread over all classes (Szegedy et al. 2016)."
    )

    @field_validator("unfreeze", mode="before")
    @classmethod
    def _unfreeze_is_valid(cls, unfreeze: object) -> object:
        if isinstance(unfreeze, str) and _UNFREEZE.fullmatch(unfreeze):
            return unfreeze
        guess = did_you_mean(str(unfreeze), ("head", "all", NORMS_AND_BIASES))
        if str(unfreeze).casefold() in _BITFIT:
            guess = f" Did you mean {NORMS_AND_BIASES}?"
        if isinstance(unfreeze, int):
            guess = {0: " Did you mean head?", 1: " Did you mean all?"}.get(unfreeze) or (
                f" Did you mean last:{abs(unfreeze)} (train the last {abs(unfreeze)} layers)? To leave the first "
                "layers frozen, name the layer to train from: from:LAYER."
            )
        expected = f"expected head, last:N, last:N%, from:LAYER, all or {NORMS_AND_BIASES}"
        raise ValueError(f"{expected}. Received: {unfreeze!r}.{guess}")

    @model_validator(mode="after")
    def _fits_its_optimizer(self) -> Self:
        takes = optimizers.find(self.optimizer).settings
        for word in optimizers.SETTINGS:
            if getattr(self, word) is not None and word not in takes:
                able = [name for name, row in optimizers.OPTIMIZERS.items() if word in row.settings]
                raise ValueError(f"optimizer {self.optimizer} has no setting {word}; it belongs to {', '.join(able)}")
        return self

    @model_validator(mode="after")
    def _fits_its_schedule(self) -> Self:
        for word in ("plateau_patience", "plateau_factor"):
            if self.schedule != "plateau" and self.is_changed(word):
                raise ValueError(f"{word} is a setting of schedule plateau, not of {self.schedule}")
        decay, is_inverse = self.inverse_time_decay, self.schedule == "inverse-time"
        if decay is not None and not is_inverse:
            raise ValueError(f"inverse_time_decay is a setting of schedule inverse-time, not of {self.schedule}")
        if decay is None and is_inverse:
            raise ValueError(
                "schedule inverse-time needs inverse_time_decay, such as 0.001, which halves the learning rate in 1000 "
                "steps"
            )
        return self

    def for_images(self, count: int, batch_size: int) -> Stage:
        """Return the stage with the number of epochs that ``auto`` means for `count` training images."""
        if self.epochs != "auto":
            return self
        wanted = math.ceil(_MIN_STEPS / math.ceil(count / batch_size))
        return self.model_copy(update={"epochs": min(max(_EPOCHS, wanted), _MAX_AUTO_EPOCHS)})

    @property
    def first_layer(self) -> str | None:
        """Name of the layer that the stage unfreezes from, if it names one."""
        kind, _, layer = self.unfreeze.partition(":")
        return layer if kind == "from" else None

    @property
    def length(self) -> int:
        """Number of epochs, after `for_images`."""
        assert isinstance(self.epochs, int)
        return self.epochs

    @property
    def ends_at_zero(self) -> bool:
        """Whether the learning rate falls to zero, so that validation scores before the end say little."""
        return self.schedule in ("cosine", "one-cycle")

    def learning_rate_at(self, done: float, reductions: int = 0, steps_per_epoch: int = 1) -> float:
        """Return the learning rate after `done` epochs (may be fractional) and `reductions` plateaus."""
        share, rise = done / self.length, self.warmup
        if self.schedule == "one-cycle":
            rise = rise or _ONE_CYCLE_RISE
            if share < rise:
                low = self.learning_rate / _ONE_CYCLE_BEGIN
                return low + (self.learning_rate - low) * (1 - math.cos(math.pi * share / rise)) / 2
        elif share < rise:
            return self.learning_rate * share / rise
        if self.inverse_time_decay is not None:
            step = math.floor((done - rise * self.length) * steps_per_epoch)
            return self.learning_rate / (1 + self.inverse_time_decay * step)
        if not self.ends_at_zero:
            return self.learning_rate * self.plateau_factor**reductions
        return self.learning_rate * (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2

    def optimizer_settings(self) -> dict[str, Any]:
        """Return the optimizer settings of the stage other than the learning rate."""
        settings = {name: getattr(self, name) for name in optimizers.SETTINGS}
        return {name: value for name, value in settings.items() if value is not None}

    def summary(self) -> str:
        """Return which layers train, such as "the last 50% of the layers"."""
        if self.unfreeze == NORMS_AND_BIASES:
            return "normalisation layers and biases"
        kind, _, what = self.unfreeze.partition(":")
        some = "the last layer" if what == "1" else f"the last {what} layers"
        layers = f"the last {what} of the layers" if what.endswith("%") else some
        return {"head": "head", "all": "all layers", "last": layers, "from": f"from {what}"}[kind]


def layer_error(number: int, backbone: str, error: UnknownNameError) -> UnknownNameError:
    """Return the error for stage `number`, from 1, that unfreezes from a layer that the backbone does not have."""
    return UnknownNameError(
        f"Stage {number} of the recipe does not fit {backbone}: {error}",
        hint=f"{error.hint}\nChoose one: --set stage.{number}.unfreeze=from:LAYER",
    )


class EarlyStopping(Choices):
    """When a stage ends early, and which epoch is best."""

    keep: Literal["best", "last"] = Field(
        default="best",
        description="Epoch to keep: the one with the best validation score, or the last; then no stage ends early.",
    )
    patience: int = Field(
        default=5,
        ge=0,
        description="Epochs without a better validation score before a stage ends. 0: never. With a cosine "
        "schedule, only epochs in its last third count.",
    )
    monitor: Literal["accuracy", "balanced_accuracy", "mean_average_precision", "log_loss"] | None = Field(
        default=None,
        description="Validation metric to monitor. Default: accuracy; balanced_accuracy with a [balance] section; "
        "mean_average_precision for multi-label tasks.",
    )


class Final(Choices):
    """What is kept after training: a classifier fitted anew, and its mean with the linear probe."""

    classifier: Literal["auto", "head", "features"] = Field(
        default="head",
        description="head: as it was trained. features: fitted anew, as by extract, to the features of all levels of "
        "the trained network (not augmented). auto: features, but head for other heads, poolings and layers than the "
        "default ones, and for random weights.",
    )
    probe: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        default=0.0,
        description="Share of the linear probe on the pretrained network in the logits of the result; only with "
        "classifier features. Above 0 the pretrained layers are kept beside the trained ones: predicting takes about "
        "1.5 times as long. auto: 1/3, or 1 (the probe alone) if the log loss on val is lower there by more than one "
        "standard error; 0 with classifier head.",
    )
    interpolate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="How far the weights go from the pretrained ones (0) to the trained ones (1; WiSE-FT, Wortsman et "
        "al. 2022); only with classifier features.",
    )


class Refit(Choices):
    """Whether to train once more on train + val after the best epoch is known."""

    when: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether to train again on train + val: the stages up to the best epoch, each as long as before. "
        "auto: see `below`.",
    )
    below: Count = Field(
        default=30, description="auto: refit if classes have fewer training images than this on average."
    )


class Trunk(Choices):
    """Caching of frozen features: layers below all trainable ones run once, not in every epoch."""

    views: Literal["auto", "fresh"] | Count = Field(
        default="auto",
        description="Number of augmented views per image whose frozen features are cached. auto: 8, or down "
        "to 4 that fit and are used at least twice, otherwise fresh (computed in every epoch).",
    )
    gigabytes: Positive = Field(
        default=4, description="Maximum GB of the cached features: up to 2 GB in memory, the rest on disk in the run."
    )
