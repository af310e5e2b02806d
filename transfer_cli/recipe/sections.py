"""Sections of a recipe: their settings, the meaning of each, and the values it accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, runtimes
from transfer_cli.data.groups import check_group_pattern
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.errors import UnknownNameError
from transfer_cli.recipe.other_names import CHOOSE_DEVICE

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
_MAX_UNITS = 65536
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def name_in(find: Callable[[str], Any], *others: str) -> AfterValidator:
    """Return a validator that accepts the names of a catalog, and `others`."""

    def check(name: str) -> str:
        try:
            return name if name in others else str(find(name).name)
        except UnknownNameError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(check)


def _catalog_name_or_file(name: str) -> str:
    if name == backbones.IN_RECIPE or backbones.is_network_file(name):
        return name
    try:
        return backbones.find(name).name
    except UnknownNameError as error:
        raise ValueError(str(error)) from None


def network_problem(name: str, preprocess: str | None, weights: str) -> str:
    """Return why a network, ``--preprocess`` and ``--weights`` do not fit together; empty if they do."""
    if not backbones.is_network_file(name):
        if weights == backbones.IN_FILE:
            return (
                f"{name} is a network of the catalog, not a file with weights of its own. Received: weights {weights}."
            )
        if backbones.is_handcrafted(name) and weights not in ("", backbones.RANDOM):
            return f"{name} has no weights: its features are computed without learning. Received: weights {weights}."
        if preprocess is None:
            return ""
        return (
            f"--preprocess is only for a .keras file: preprocessing is part of {name}, a network of the catalog. "
            f"Received: {preprocess}."
        )
    if preprocess is None:
        schemes = "\n".join(f"  {scheme:8}{meaning}" for scheme, meaning in backbones.PREPROCESSING.items())
        return f"{name} needs --preprocess (backbone.preprocess), how it expects its pixels:\n{schemes}"
    if weights in (backbones.IMAGENET, backbones.EMBEDDED, backbones.RANDOM):
        return f"{name} has weights of its own. Expected no --weights, or an earlier run. Received: {weights}."
    return ""


def _widths(units: Any) -> Any:
    """Return the width of a hidden layer, or the widths of several as a tuple."""
    widths = units if isinstance(units, list | tuple) else [units]
    are_whole = all(isinstance(each, int) and not isinstance(each, bool) for each in widths)
    is_possible = are_whole and all(1 <= each <= _MAX_UNITS for each in widths)
    if is_possible and 1 <= len(widths) <= heads.MOST_HIDDEN_LAYERS:
        return tuple(widths) if isinstance(units, list | tuple) else units
    raise ValueError(
        f"expected a whole number from 1 to {_MAX_UNITS}, or a list of them, one per hidden layer (at most "
        f"{heads.MOST_HIDDEN_LAYERS}), such as [4096, 4096]. Received: {units!r}."
    )


Units = Annotated[int | tuple[int, ...], BeforeValidator(_widths)]


class Choices(BaseModel):
    """A section: unknown settings and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    def is_changed(self, setting: str) -> bool:
        """Return whether a setting differs from its default."""
        return bool(getattr(self, setting) != type(self).model_fields[setting].default)


class RecipeFile(Choices):
    """The settings of a command, which its run keeps."""

    method: Any = Field(description="Command that the recipe is for.")
    seed: Seed = Field(default=0, description="Random seed of everything except the split.")

    def to_toml(self) -> str:
        """Return the recipe as TOML text that loads to an equal recipe."""
        data = self.model_dump(exclude_none=True)
        return tomli_w.dumps({name: value for name, value in data.items() if value != {}})


class Classes(Choices):
    """The tables of `--class-map` and `--omit`, filled in by the commands; the run holds copies of them."""

    map: dict[str, str] | None = Field(
        default=None, description="New name of each class in the class map; empty: its images are left out."
    )
    map_sha256: str | None = Field(default=None, description="SHA-256 of the class map.")
    omit_sha256: str | None = Field(default=None, description="SHA-256 of the list of omitted images.")

    @classmethod
    def of(cls, selection: ImageSelection) -> Self:
        """Return the settings of the tables that were applied to a folder."""
        class_map, omit = selection.class_map, selection.omit
        return cls(
            map=dict(class_map.targets) if class_map else None,
            map_sha256=class_map.sha256 if class_map else None,
            omit_sha256=omit.sha256 if omit else None,
        )


class Images(Choices):
    """How images of any size become the input of the network."""

    size: int | None = Field(
        default=None, ge=28, le=2048, description="Side of the square input in pixels. Default: that of the backbone."
    )
    resize: Literal["squash", "crop", "pad"] = Field(
        default="squash",
        description="squash: scale both sides to `size`; crop: use the central square; pad: add black borders.",
    )
    bit_depth: int | None = Field(
        default=None,
        ge=8,
        le=16,
        description="Number of lowest bits that images with 16 bits per sample use, such as 12 for a 12-bit camera. "
        "Default: the range that each file declares.",
    )


class Parts(Choices):
    """How images are split into train, val and test if the folder does not say so."""

    test: Share = Field(default=0.2, description="Share of the images for the test set.")
    val: Share = Field(
        default=0.0, description="Share of the images for the validation set. 0: cross-validation on train instead."
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the split; another number gives another split.")
    group_by: Annotated[str, AfterValidator(check_group_pattern)] | None = Field(
        default=None,
        description="Never split a group between train and test. A regular expression: images whose path has the same "
        "first group (or whole match), such as 'patient(\\d+)', belong together; or column:NAME, a column of the CSV "
        "file of the images; or near-duplicates.",
    )

    @model_validator(mode="after")
    def _train_is_left(self) -> Self:
        if self.test + self.val >= 1:
            raise ValueError(f"test = {self.test:g} and val = {self.val:g} leave no images for training")
        return self


class PartsWithVal(Parts):
    """The split of finetune, with a validation set on which epochs are compared."""

    val: Share = Field(default=0.15, description="Share of the images for the validation set, which selects the epoch.")


class Backbone(Choices):
    """The pretrained network and the layer that gives the features."""

    name: Annotated[str, AfterValidator(_catalog_name_or_file)] = Field(
        default="mobilenet_v2",
        description="Name of the pretrained network (transfer-cli backbones list), or a .keras file.",
    )
    preprocess: Literal["inside", "0-1", "-1-1", "tf", "torch", "caffe"] | None = Field(
        default=None,
        description="How a .keras file expects its pixels (see extract --help); required for a file, and only for it.",
    )
    weights: str = Field(
        default=backbones.IMAGENET,
        description="imagenet, none (random, from the recipe's seed), embedded (in the program), a weights file, or an "
        "earlier run of finetune to start from. Always those in it for a .keras file.",
    )
    pooling: Literal["avg", "max", "flatten", "levels"] | None = Field(
        default=None,
        description="How feature maps become a vector: mean or maximum per channel of the last one, all its values "
        "(flatten), or the square roots of the means of the last one at each resolution, joined (levels). Default: "
        "levels for extract, avg for finetune.",
    )
    layer: str | None = Field(
        default=None, description="Layer that gives the features. Default: the last one below the classification head."
    )
    sha256: str | None = Field(default=None, description="SHA-256 of the .keras file; filled in.")
    ancestors: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        description="Run that `weights` names with its digest, and those that it started from; filled in.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_to_own_weights(cls, data: Any) -> Any:
        """Default to the shipped weights for the network that has no others, and to those in a file."""
        name = data.get("name") if isinstance(data, dict) else None
        if name == backbones.EMBEDDED:
            return {"weights": backbones.EMBEDDED, **data}
        if name == backbones.IN_RECIPE or (isinstance(name, str) and backbones.is_handcrafted(name)):
            return {"weights": backbones.RANDOM, **data}
        is_file = isinstance(name, str) and backbones.is_network_file(name)
        return {"weights": backbones.IN_FILE, **data} if is_file else data

    @model_validator(mode="after")
    def _preprocess_fits_the_network(self) -> Self:
        if problem := network_problem(self.name, self.preprocess, self.weights):
            raise ValueError(problem)
        if backbones.is_handcrafted(self.name) and self.pooling not in (None, "flatten"):
            raise ValueError(f"{self.name} gives one row of features, without pooling. Received: {self.pooling}.")
        return self

    @property
    def is_file(self) -> bool:
        """Whether the network is a .keras file, not a name of the catalog."""
        return self.preprocess is not None

    @property
    def starts_from_run(self) -> bool:
        """Whether the weights are those of an earlier run or bundle."""
        known = (backbones.IMAGENET, backbones.EMBEDDED, backbones.RANDOM, backbones.IN_FILE)
        return self.weights not in known and (self.ancestors is not None or Path(self.weights).is_dir())

    @property
    def short_name(self) -> str:
        """Its name in the catalog, or that of its file without folder and suffix."""
        return Path(self.name).stem if self.is_file else self.name

    @property
    def spec(self) -> backbones.BackboneSpec:
        """The row of the catalog, or what the .keras file holds.

        Raises
        ------
        ModelError
            If the file is missing or cannot be used.
        """
        if self.preprocess is None:
            return backbones.row_of(self.name)
        from transfer_cli.models.weights.network_file import NetworkFile

        return NetworkFile.read(Path(self.name)).spec(self.name, self.preprocess)


class Inference(Choices):
    """The engine that runs frozen networks: for features and for predictions."""

    runtime: Annotated[str, name_in(runtimes.find, runtimes.AUTO)] = Field(
        default=runtimes.AUTO,
        description="litert, keras, openvino (extra) or auto: keras on a GPU and for very large networks, else litert.",
    )
    precision: Literal["f32", "bf16"] = Field(
        default="f32", description="bf16: 16 bits, about twice as fast on CPUs that support it (openvino only)."
    )

    @model_validator(mode="after")
    def _can_compute_so(self) -> Self:
        able = () if self.runtime == runtimes.AUTO else runtimes.find(self.runtime).precisions
        if self.precision not in ("f32", *able):
            raise ValueError(f"precision {self.precision} needs runtime = openvino. Received: {self.runtime!r}.")
        return self


class Hardware(Choices):
    """How training uses the hardware. Weights, metrics and saved models are always float32."""

    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32",
        description="Number format in training. mixed_*: half precision (Micikevicius et al. 2018), for GPUs; "
        "mixed_float16 uses loss scaling.",
    )
    accumulate: int = Field(
        default=1, ge=1, le=1024, description="Gradient accumulation: number of batches per optimizer step."
    )
    gpus: Literal["auto"] | Count = Field(
        default="auto",
        description="Number of GPUs that share each batch. auto: all, or the CPU if there is none. To train on the "
        "CPU, set the environment variable CUDA_VISIBLE_DEVICES=-1.",
    )

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus_is_a_number(cls, gpus: object) -> object:
        if gpus == "auto" or (isinstance(gpus, int) and not isinstance(gpus, bool) and gpus > 0):
            return gpus
        raise ValueError(f"expected auto or the number of GPUs, at least 1. Received: {gpus!r}. {CHOOSE_DEVICE}")


class Classifier(Choices):
    """The scikit-learn classifier that is trained on the features."""

    name: Annotated[str, name_in(classifiers.find, classifiers.NONE)] | None = Field(
        default=None,
        description="scikit-learn classifier (transfer-cli extract --help). Default: lda; logistic for several labels "
        "per image.",
    )
    tune: bool | None = Field(
        default=None, description="Tune its regularisation by cross-validation. Default: only for fast classifiers."
    )
    tune_seconds: Positive = Field(
        default=60,
        description="Time limit for tuning in seconds: no further value is tried after it. lda tries all in one pass.",
    )

    @property
    def spec(self) -> classifiers.ClassifierSpec:
        """The row of the catalog; only of a resolved recipe with a classifier."""
        assert self.name is not None
        return classifiers.find(self.name)


class Head(Choices):
    """The layers that replace the classification head of the backbone."""

    kind: Annotated[str, name_in(heads.find)] = Field(
        default=heads.LINEAR,
        description="linear: one dense layer; mlp: hidden layers with ReLU and dropout, dense layer; flatten-mlp: the "
        "same on the flattened feature map.",
    )
    start: Literal["probe", "random"] | None = Field(
        default=None,
        description="Initial weights. probe: a logistic regression on the frozen features. Default: depends on `kind`.",
    )
    units: Units | None = Field(
        default=None,
        description="Width of the hidden layer, or a list of the widths of several, such as [4096, 4096]. Default: "
        "depends on `kind`.",
    )
    batch_norm: bool = Field(
        default=False,
        description="Batch normalisation of each hidden layer, between its kernel and ReLU (Ioffe and Szegedy 2015). "
        "It learns from each batch (each micro-batch, with hardware.accumulate), and predicts with moving averages.",
    )
    dropout: Share = Field(
        default=0.0, description="Dropout rate before the last layer; with hidden layers, after each of them."
    )
    l2: NonNegative = Field(default=0.0, description="L2 penalty on the head's kernels.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        spec = heads.find(self.kind)
        if self.start and self.start not in spec.starts:
            raise ValueError(f"head.start = {self.start} is not possible for head.kind = {self.kind}, only for linear")
        if self.units and spec.units is None:
            raise ValueError(f"head.units needs a hidden layer, and head.kind = {self.kind} has none")
        if self.batch_norm and spec.units is None:
            raise ValueError(
                f"head.batch_norm needs a hidden layer, and head.kind = {self.kind} has none. Expected mlp or "
                "flatten-mlp"
            )
        return self

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers; only of a resolved recipe."""
        return self.units if isinstance(self.units, tuple) else (self.units,) if self.units else ()


class Balance(Choices):
    """How imbalanced classes are treated: every method gives rare classes more weight."""

    method: Annotated[str, name_in(class_balancing.find)] = Field(
        default="none", description="none, class-weights, effective-number, logit-adjustment, focal or oversampling."
    )
    beta: Share = Field(
        default=0.999, description="effective-number: how redundant images of one class are (Cui et al. 2019)."
    )
    tau: Positive = Field(
        default=1.0, description="logit-adjustment: factor of the log class frequencies (Menon et al. 2021)."
    )
    gamma: Positive = Field(
        default=2.0, description="focal: larger values weigh well-classified images less (Lin et al. 2017)."
    )

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        own = class_balancing.find(self.method).setting
        for name, row in class_balancing.CLASS_BALANCING_METHODS.items():
            if row.setting not in ("", own) and self.is_changed(row.setting):
                raise ValueError(f"{row.setting} is a setting of method {name}, not of {self.method}")
        return self


class Unlabelled(Choices):
    """Pseudo-labelling: unlabelled images that are trained on with the label that a first model predicts."""

    folder: str | None = Field(default=None, min_length=1, description="Folder of unlabelled images. Default: none.")
    confidence: Share = Field(default=0.95, description="Minimum confidence of a pseudo-label to be used (Lee 2013).")
