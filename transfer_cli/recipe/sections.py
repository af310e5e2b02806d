"""Sections of a recipe: their settings, the meaning of each, and the values it accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, runtimes
from transfer_cli.data.groups import NEAR_DUPLICATES, check_group_pattern
from transfer_cli.errors import UnknownNameError


class Choices(BaseModel):
    """A section: unknown settings and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Images(Choices):
    """How images of any size become the input of the network."""

    size: int | None = Field(
        default=None,
        ge=32,
        le=2048,
        description="Side of the square input image in pixels. Default: the size that the backbone was trained with.",
    )
    resize: Literal["squash", "crop", "pad"] = Field(
        default="squash",
        description="squash: scale both sides to `size`; crop: use the central square; pad: fit the whole image on a "
        "black square.",
    )


class Parts(Choices):
    """How images are split into train, val and test if the folder does not say so."""

    test: float = Field(default=0.2, ge=0, lt=1, description="Share of the images for the test set.")
    val: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the images for the validation set. 0 for extract: choices are made by "
        "cross-validation on the training set.",
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the split; another number gives another split.")
    group_by: str | None = Field(
        default=None,
        description="Never split a group between train and test. A regular expression: images whose path has the same "
        "first group (or whole match), such as 'patient(\\d+)', belong together; or near-duplicates.",
    )

    @field_validator("group_by")
    @classmethod
    def _is_a_pattern(cls, text: str | None) -> str | None:
        if text is not None and text != NEAR_DUPLICATES:
            check_group_pattern(text)
        return text

    @model_validator(mode="after")
    def _train_is_left(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError(f"test = {self.test:g} and val = {self.val:g} leave no images for training")
        return self


class PartsWithVal(Parts):
    """The split of finetune, with a validation set on which epochs are compared."""

    val: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="Share of the images for the validation set, on which the best epoch is chosen.",
    )


class Backbone(Choices):
    """The pretrained network and the layer that gives the features."""

    name: str = Field(
        default="mobilenet_v2", description="Name of the pretrained network (transfer-cli backbones list)."
    )
    weights: str = Field(
        default=backbones.IMAGENET,
        description="imagenet, none (random, from the seed of the recipe), embedded (shipped with the program), or a "
        "weights file.",
    )
    pooling: Literal["avg", "max", "flatten"] = Field(
        default="avg",
        description="How the last feature map becomes one vector: mean per channel, maximum per channel, or all values "
        "(flatten).",
    )
    layer: str | None = Field(
        default=None,
        description="Layer whose output is the feature vector. Default: the last layer below the classification head.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_to_embedded_weights(cls, data: Any) -> Any:
        """Default to the shipped weights for the network that has no others."""
        if not isinstance(data, dict) or "weights" in data or data.get("name") != backbones.EMBEDDED:
            return data
        return {**data, "weights": backbones.EMBEDDED}

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return known(lambda: backbones.find(name).name)


class Inference(Choices):
    """The engine that runs frozen networks: for features and for predictions."""

    runtime: str = Field(
        default=runtimes.AUTO,
        description="Engine that runs frozen networks. auto: litert, or keras on a GPU and for very large networks; "
        "openvino is an extra.",
    )
    precision: Literal["f32", "bf16"] = Field(
        default="f32",
        description="bf16: 16-bit floating point, about twice as fast on CPUs that support it (openvino only).",
    )

    @field_validator("runtime")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == runtimes.AUTO else known(lambda: runtimes.find(name).name)

    @model_validator(mode="after")
    def _can_compute_so(self) -> Self:
        if self.precision == "f32":
            return self
        if self.runtime == runtimes.AUTO or self.precision not in runtimes.find(self.runtime).precisions:
            raise ValueError(f"precision {self.precision} needs runtime = openvino. Received: {self.runtime!r}.")
        return self


class Hardware(Choices):
    """How training uses the hardware. Weights, metrics and saved models are always float32."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32",
        description="Number format during training. mixed_*: half precision (Micikevicius et al. 2018), for GPUs; "
        "mixed_float16 uses loss scaling.",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Gradient accumulation: average the gradients of this number of batches before each "
        "optimizer step.",
    )
    gpus: Literal["auto"] | int = Field(
        default="auto", description="Number of GPUs that share each batch. auto: all, or the CPU if there is none."
    )

    @field_validator("gpus")
    @classmethod
    def _one_or_more(cls, gpus: str | int) -> str | int:
        if isinstance(gpus, int) and gpus < 1:
            raise ValueError(f"expected auto or a number from 1. Received: {gpus}.")
        return gpus


class Classifier(Choices):
    """The scikit-learn classifier that is trained on the features."""

    name: str = Field(
        default="logistic",
        description="scikit-learn classifier to train on the features (transfer-cli extract --help).",
    )
    tune: bool | None = Field(
        default=None,
        description="Tune the regularisation strength by cross-validation. Default: only for fast classifiers.",
    )
    tune_seconds: float = Field(
        default=60,
        gt=0,
        description="Time limit for tuning in seconds: no further value is tried after it (noted in the log).",
    )

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == classifiers.NONE else known(lambda: classifiers.find(name).name)


class Head(Choices):
    """The layers that replace the classification head of the backbone."""

    kind: str = Field(
        default="linear",
        description="linear: one dense layer; mlp: hidden layer, dropout, dense layer; flatten-mlp: the same on the "
        "flattened feature map.",
    )
    start: Literal["probe", "random"] | None = Field(
        default=None,
        description="Initial weights of the head. probe: a logistic regression on the frozen features; random. "
        "Default: depends on `kind`.",
    )
    units: int | None = Field(
        default=None, ge=1, le=65536, description="Width of the hidden layer. Default: depends on `kind`."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout rate before the last layer.")
    l2: float = Field(default=0.0, ge=0, description="L2 penalty on the head's kernels.")

    @field_validator("kind")
    @classmethod
    def _in_catalog(cls, kind: str) -> str:
        return known(lambda: heads.find(kind).name)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        spec = heads.find(self.kind)
        if self.start and self.start not in spec.starts:
            raise ValueError(f"head.start = {self.start} is not possible for head.kind = {self.kind}, only for linear")
        if self.units and spec.units is None:
            raise ValueError(f"head.units needs a hidden layer, and head.kind = {self.kind} has none")
        return self


class Balance(Choices):
    """How imbalanced classes are treated: every method gives rare classes more weight."""

    method: str = Field(
        default="none", description="none, class-weights, effective-number, logit-adjustment, focal or oversampling."
    )
    beta: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="effective-number: how redundant images of one class are (Cui et al. 2019).",
    )
    tau: float = Field(
        default=1.0,
        gt=0,
        description="logit-adjustment: multiplier of the subtracted log class frequencies (Menon et al. 2021).",
    )
    gamma: float = Field(
        default=2.0,
        gt=0,
        description="focal: focusing parameter; larger values weigh well-classified images less (Lin et al. 2017).",
    )

    @field_validator("method")
    @classmethod
    def _in_catalog(cls, method: str) -> str:
        return known(lambda: class_balancing.find(method).name)

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        takes = class_balancing.find(self.method).setting
        for name, row in class_balancing.CLASS_BALANCING_METHODS.items():
            if (
                row.setting
                and row.setting != takes
                and getattr(self, row.setting) != type(self).model_fields[row.setting].default
            ):
                raise ValueError(f"{row.setting} is a setting of method {name}, not of {self.method}")
        return self


class Unlabelled(Choices):
    """Pseudo-labelling: unlabelled images that are trained on with the label that a first model predicts."""

    folder: str | None = Field(
        default=None, min_length=1, description="Folder of unlabelled images. Default: none are used."
    )
    confidence: float = Field(
        default=0.95, ge=0, lt=1, description="Minimum confidence for a pseudo-label to be used (Lee 2013)."
    )


def known(look_up: Callable[[], str]) -> str:
    """Return a name found in a catalog; an unknown name becomes a validation error."""
    try:
        return look_up()
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
