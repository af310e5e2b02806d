"""The sections of a recipe: which words each has, what they mean, and which values they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, runtimes
from transfer_cli.data.groups import NEAR_DUPLICATES, must_be_a_pattern
from transfer_cli.errors import UnknownNameError


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
    group_by: str | None = None
    """Keeps relatives in one part: a regular expression, whose first group (or whole match) in the path names the
    relatives, as "patient(\\d+)"; or near-duplicates, for copies of a picture."""

    @field_validator("group_by")
    @classmethod
    def _is_a_pattern(cls, text: str | None) -> str | None:
        if text is not None and text != NEAR_DUPLICATES:
            must_be_a_pattern(text)
        return text

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
    weights: str = backbones.IMAGENET
    """imagenet, none (random, of the recipe's seed), embedded (what comes with the program) or a file."""
    pooling: Literal["avg", "max", "flatten"] = "avg"
    """How the last map becomes one row: its mean, its maximum, or all of it."""
    layer: str | None = None
    """The layer whose output is the feature; the last one below the top where it is not given."""

    @model_validator(mode="before")
    @classmethod
    def _weights_of_its_own(cls, said: Any) -> Any:
        """Take those that come with the program for a network that has no others, unless some were asked for."""
        if not isinstance(said, dict) or "weights" in said or said.get("name") != backbones.EMBEDDED:
            return said
        return {**said, "weights": backbones.EMBEDDED}

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return known(lambda: backbones.find(name).name)


class Inference(Choices):
    """What runs a network that does not learn: for features, and for predicting with the model."""

    runtime: str = runtimes.AUTO
    """auto: litert, but keras on a graphics card and for huge networks; keras, litert, or openvino, an extra."""
    precision: Literal["f32", "bf16"] = "f32"
    """bf16: half the digits, twice as fast where the processor has them; openvino only."""

    @field_validator("runtime")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == runtimes.AUTO else known(lambda: runtimes.find(name).name)

    @model_validator(mode="after")
    def _can_compute_so(self) -> Self:
        if self.precision == "f32":
            return self
        if self.runtime == runtimes.AUTO or self.precision not in runtimes.find(self.runtime).precisions:
            raise ValueError(f"precision {self.precision} needs runtime openvino. Received: {self.runtime!r}.")
        return self


class Hardware(Choices):
    """How the machine computes what learns; weights, and all that is scored and kept, are float32 always."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """mixed: half the digits while learning (Micikevicius et al. 2018), for graphics cards; float16 scales the loss."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """A step learns from so many batches, their gradients averaged: as one batch of so many times `batch_size`."""
    gpus: Literal["auto"] | int = "auto"
    """Graphics cards that share each batch; auto: all there are, or the processor where there is none."""

    @field_validator("gpus")
    @classmethod
    def _one_or_more(cls, gpus: str | int) -> str | int:
        if isinstance(gpus, int) and gpus < 1:
            raise ValueError(f"expected auto or a number from 1. Received: {gpus}.")
        return gpus


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
        return name if name == classifiers.NONE else known(lambda: classifiers.find(name).name)


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
        return known(lambda: heads.find(kind).name)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        spec = heads.find(self.kind)
        if self.start and self.start not in spec.starts:
            raise ValueError(f"a head of kind {self.kind} cannot start from a {self.start}; only linear can")
        if self.units and spec.units is None:
            raise ValueError(f"a head of kind {self.kind} has no hidden layer, so no units")
        return self


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
        return known(lambda: class_balancing.find(method).name)

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        takes = class_balancing.find(self.method).word
        for name, row in class_balancing.BALANCES.items():
            if row.word and row.word != takes and getattr(self, row.word) != type(self).model_fields[row.word].default:
                raise ValueError(f"method {self.method} has no {row.word}; {name} has")
        return self


class Unlabelled(Choices):
    """Pictures without a class that are learnt from, too, under the class that a first training gives them."""

    folder: str | None = Field(default=None, min_length=1)
    """Where they are; none are taken where it is not given."""
    confidence: float = Field(default=0.95, ge=0, lt=1)
    """A picture is learnt from that the first training gives a class with this probability, or more (Lee 2013)."""


def known(look_up: Callable[[], str]) -> str:
    """Return a name that was looked up in a catalog; an unknown one is a fault of the word."""
    try:
        return look_up()
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
