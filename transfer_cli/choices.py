"""The sections of a recipe: which words each has, what they mean, and which values they take."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from transfer_cli.catalog import backbones, balances, classifiers, heads, optimizers, runtimes
from transfer_cli.errors import UnknownNameError, nearest

_UNFREEZE = re.compile(r"head|all|last:[1-9][0-9]{0,5}|last:([1-9][0-9]?|100)%|from:.+")
_LARGEST = 2048
"""No shift in pixels, and no factor, is beyond the largest picture."""
_BEYOND = {"randaugment", "pca_colour", "random_erasing", "mixup", "cutmix"}
"""Words of an augmentation that ImageDataGenerator does not know."""
_WORDS_OF_BALANCES = {"beta": "effective-number", "tau": "logit-adjustment", "gamma": "focal"}
_EPOCHS, _MOST_EPOCHS, _LEAST_STEPS, _FOREVER = 20, 100, 300, 10_000
"""Of ``auto``: so many epochs, more where they would be too few steps to learn much; see docs/benchmarks.md."""
_ONE_CYCLE_RISE, _ONE_CYCLE_BEGIN = 0.3, 25


class Choices(BaseModel):
    """Words that nothing else may stand among, of exactly the types they say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Images(Choices):
    """How a picture of any size becomes the network's input."""

    size: int | None = Field(default=None, ge=32, le=2048)
    """Side of the square input in pixels; the backbone's own where it is not given."""
    resize: Literal["squash", "crop", "pad"] = "squash"
    """squash: both sides to `size`; crop: the middle square; pad: the whole picture on black."""


class Parts(Choices):
    """How pictures are parted where the folder does not say it."""

    test: float = Field(default=0.2, ge=0, lt=1)
    """Share of the pictures that is kept for the test."""
    val: float = Field(default=0.0, ge=0, lt=1)
    """Share that is held out to compare by; without it extract compares by cross-validation."""
    seed: int = Field(default=0, ge=0)
    """Another seed parts the pictures otherwise."""

    @model_validator(mode="after")
    def _train_is_left(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError(f"test and val are {self.test:g} and {self.val:g}, which leaves nothing to train on")
        return self


class PartsWithVal(Parts):
    """The same with a val part, by which epochs are compared."""

    val: float = Field(default=0.15, ge=0, lt=1)
    """Share that is held out: the epoch that does best on it is what predicts."""


class Backbone(Choices):
    """Which network looks at the pictures, and where it is cut."""

    name: str = "mobilenet_v2"
    """See: transfer-cli backbones list."""
    weights: str = "imagenet"
    """imagenet, none (random, of the recipe's seed) or a file."""
    pooling: Literal["avg", "max", "flatten"] = "avg"
    """How the last map becomes one row: its mean, its maximum, or all of it."""
    layer: str | None = None
    """The layer whose output is the feature; the last one below the top where it is not given."""

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return _known(lambda: backbones.find(name).name)


class Inference(Choices):
    """What runs a network that does not learn: for features, and for predicting with the model."""

    runtime: str = runtimes.AUTO
    """auto: litert, but keras on a graphics card and for huge networks; keras, litert, or openvino, an extra."""
    precision: Literal["f32", "bf16"] = "f32"
    """bf16: half the digits, twice as fast where the processor has them; openvino only."""

    @field_validator("runtime")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == runtimes.AUTO else _known(lambda: runtimes.find(name).name)

    @model_validator(mode="after")
    def _can_compute_so(self) -> Self:
        if self.precision == "f32":
            return self
        if self.runtime == runtimes.AUTO or self.precision not in runtimes.find(self.runtime).precisions:
            raise ValueError(f"precision {self.precision} needs runtime openvino. Received: {self.runtime!r}.")
        return self


class Classifier(Choices):
    """Which scikit-learn method learns from the features."""

    name: str = "logistic"
    """See: transfer-cli extract --help."""
    tune: bool | None = None
    """Choose the regularisation by cross-validation; the catalog's word where it is not given."""
    tune_seconds: float = Field(default=60, gt=0)
    """No new value is tried after that many seconds; the log says so if it happened."""

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == classifiers.NONE else _known(lambda: classifiers.find(name).name)


class Head(Choices):
    """What is put on the backbone instead of its top."""

    kind: str = "linear"
    """linear: one dense layer; mlp: a hidden layer and dropout before it; flatten-mlp: the same on the whole map."""
    start: Literal["probe", "random"] | None = None
    """probe: a logistic regression on the backbone's features; the catalog's word for `kind` where it is not given."""
    units: int | None = Field(default=None, ge=1, le=65536)
    """Width of the hidden layer; the catalog's where it is not given."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the numbers before the last layer that each step leaves out."""
    l2: float = Field(default=0.0, ge=0)
    """Weight of the sum of squares of the head's kernels in the loss."""

    @field_validator("kind")
    @classmethod
    def _in_catalog(cls, kind: str) -> str:
        return _known(lambda: heads.find(kind).name)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        spec = heads.find(self.kind)
        if self.start and self.start not in spec.starts:
            raise ValueError(f"a head of kind {self.kind} cannot start from a {self.start}; only linear can")
        if self.units and spec.units is None:
            raise ValueError(f"a head of kind {self.kind} has no hidden layer, so no units")
        return self


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
        return _known(lambda: optimizers.find(optimizer).name)

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

    def in_words(self) -> str:
        """Return what is trained, for a person."""
        kind, _, what = self.unfreeze.partition(":")
        layers = f"the last {what} of the layers" if what.endswith("%") else f"the last {what} layers"
        return {"head": "head", "all": "all layers", "last": layers, "from": f"from {what}"}[kind]


class EarlyStopping(Choices):
    """When a stage ends before its last epoch, and what is best."""

    patience: int = Field(default=5, ge=0)
    """A stage ends after so many epochs without a better val score; 0: never. A cosine counts in its last third."""
    monitor: Literal["accuracy", "balanced_accuracy", "log_loss"] | None = None
    """What is compared on val: accuracy where it is not given, balanced_accuracy with a `[balance]`."""


class Refit(Choices):
    """Whether what was held out for val is learnt from as well, once val has said what is best."""

    when: Literal["auto", "always", "never"] = "auto"
    """auto: where a class has fewer than `below` pictures to learn from, on average."""
    below: int = Field(default=30, ge=1)
    """So many pictures a class are enough to do without."""


class Balance(Choices):
    """What is done about classes of unequal sizes: all of these make rare classes count for more."""

    method: str = "none"
    """none, class-weights, effective-number, logit-adjustment, focal or oversampling."""
    beta: float = Field(default=0.999, ge=0, lt=1)
    """effective-number: how much pictures of one class are thought to repeat each other (Cui et al. 2019)."""
    tau: float = Field(default=1.0, gt=0)
    """logit-adjustment: share of the log prior that is taken out (Menon et al. 2021)."""
    gamma: float = Field(default=2.0, gt=0)
    """focal: how little a picture counts that is classified well already (Lin et al. 2017)."""

    @field_validator("method")
    @classmethod
    def _in_catalog(cls, method: str) -> str:
        return _known(lambda: balances.find(method).name)

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        for word, method in _WORDS_OF_BALANCES.items():
            if self.method != method and getattr(self, word) != type(self).model_fields[word].default:
                raise ValueError(f"method {self.method} has no {word}; {method} has")
        return self


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


class Augmentation(Choices):
    """ImageDataGenerator's words with its meanings, then what it does not know; the defaults do nothing."""

    rotation_range: float = Field(default=0, ge=0, le=180)
    """Degrees to either side."""
    width_shift_range: int | float | tuple[float, ...] = 0.0
    """Below 1 a share of the width, else pixels; a list to choose from."""
    height_shift_range: int | float | tuple[float, ...] = 0.0
    """The same for the height."""
    shear_range: float = Field(default=0, ge=0, lt=90)
    """Degrees to either side."""
    zoom_range: float | tuple[float, float] = 0.0
    """z for 1 - z to 1 + z, or the two ends; below 1 is nearer."""
    channel_shift_range: float = Field(default=0, ge=0, le=255)
    """Grey levels to either side, the same for all channels."""
    brightness_range: tuple[float, float] | None = None
    """Both ends of the factor."""
    horizontal_flip: bool = False
    """Mirror half of the pictures; not for text, or where left and right differ."""
    vertical_flip: bool = False
    """Turn half of the pictures upside down."""
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    """What is seen beyond the edge of a picture."""
    cval: float = Field(default=0, ge=0, le=255)
    """The grey of fill_mode constant."""
    randaugment: float = Field(default=0, ge=0, le=1)
    """Strength of two transforms drawn from Keras's RandAugment (Cubuk et al. 2020); 0: none."""
    pca_colour: float = Field(default=0, ge=0, le=1)
    """Deviation of a shift along the main colours of ImageNet; AlexNet's was 0.1 (Krizhevsky et al. 2012)."""
    random_erasing: float = Field(default=0, ge=0, le=1)
    """Share of the pictures of which a rectangle is filled with noise (Zhong et al. 2020)."""
    mixup: float = Field(default=0, ge=0)
    """Alpha: pictures and truths are blended with others by a share from Beta(alpha, alpha) (Zhang et al. 2018)."""
    cutmix: float = Field(default=0, ge=0)
    """Alpha: a rectangle of another picture is laid in, the truth shared by area (Yun et al. 2019); or mixup's turn."""

    @field_validator("width_shift_range", "height_shift_range", mode="before")
    @classmethod
    def _reach(cls, reach: Any) -> Any:
        if _is_number(reach) and reach >= 0:
            return reach
        return _numbers(reach, "expected a number from 0, or a list of numbers to choose from")

    @field_validator("zoom_range", mode="before")
    @classmethod
    def _zoom(cls, zoom: Any) -> Any:
        if _is_number(zoom) and 0 <= zoom < 1:
            return zoom
        return _numbers(zoom, "expected a number from 0 to 1, or two above 0, the lower first", count=2, above=0)

    @field_validator("brightness_range", mode="before")
    @classmethod
    def _brightness(cls, ends: Any) -> Any:
        return None if ends is None else _numbers(ends, "expected two numbers above 0, the lower first", 2, above=0)

    @property
    def is_off(self) -> bool:
        """Whether every picture stays as it is."""
        still = Augmentation(fill_mode=self.fill_mode, cval=self.cval)
        return self == still

    @property
    def mixes(self) -> bool:
        """Whether a picture may become one of two classes."""
        return bool(self.mixup or self.cutmix)

    def words(self) -> dict[str, Any]:
        """Return the arguments of an ImageDataGenerator."""
        return self.model_dump(exclude=_BEYOND)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _numbers(value: Any, expected: str, count: int | None = None, above: float | None = None) -> tuple[float, ...]:
    """Return a list out of TOML as a tuple; `count` numbers have to be in order and above a bar."""
    good = isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_number, value))
    if good and count:
        good = len(value) == count and above is not None and above < value[0] <= value[-1]
    if not good:
        raise ValueError(f"{expected}. Received: {value!r}.")
    return tuple(value)


def _known(look_up: Callable[[], str]) -> str:
    try:
        return look_up()
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
