"""The options of trainings, as keyword arguments and as command-line options, and the request that they make."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from pydantic import Field

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.catalog import backbones, classifiers, ensemble_methods
from transfer_cli.data import given_split
from transfer_cli.data.groups import group_column
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.data.table_columns import TableOptions
from transfer_cli.data.unlabelled_folder import scan_labels_optional
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import InputError, OptionError
from transfer_cli.io.cache import Cache, parse_size
from transfer_cli.io.foreign_tables import SUFFIXES as TABLE_SUFFIXES
from transfer_cli.metrics.spread import MAX_REPEATS, MIN_REPEATS
from transfer_cli.progress import Progress
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs.own_name import Naming, as_named, with_own_name
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory, default_path
from transfer_cli.runs.split_table import split_table
from transfer_cli.text import parse_duration

if TYPE_CHECKING:
    from transfer_cli.training.planning.estimate import Plan
    from transfer_cli.training.repeat_results import Repeats

_Share = Annotated[float, Field(ge=0, le=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
_Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]


class ImageOptions(TypedDict, total=False):
    """How the images and their classes are read, and where the run is written."""

    class_level: _Count | Literal["last"] | None
    path_column: str | None
    label_column: str | None
    images: StrPath | None
    class_map: StrPath | None
    omit: StrPath | None
    output: StrPath | None
    split: StrPath | None
    group_by: str | None
    seed: _Seed | None
    bit_depth: Annotated[int, Field(ge=8, le=16)] | None
    strict: bool
    min_accuracy: _Share | None
    overwrite: bool
    offline: bool


class RecipeOptions(ImageOptions, total=False):
    """The settings of a recipe that have a name of their own; `set` overrides all others."""

    recipe: StrPath | None
    set: Mapping[str, object] | Sequence[str] | str | None
    backbone: StrPath | None
    preprocess: Literal["inside", "0-1", "-1-1", "tf", "torch", "caffe"] | None
    weights: StrPath | None
    pooling: Literal["avg", "max", "flatten", "levels"] | None
    layer: str | None
    runtime: str | None
    bags: Annotated[int, Field(ge=ensemble_methods.MIN_BAGS, le=ensemble_methods.MAX_BAGS)] | None
    method: str | None


class ExtractKeywords(RecipeOptions, total=False):
    """The keyword arguments of `extract`: the options of the command."""

    classifier: str | None
    tune: bool | None
    cache_limit: int | str | None


class FinetuneKeywords(RecipeOptions, total=False):
    """The keyword arguments of `finetune`: the options of the command."""

    epochs: _Count | Literal["auto"] | None
    lr: _Positive | None
    batch_size: _Count | None
    unlabelled: StrPath | None
    time_budget: _Positive | str | None
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] | None
    tensorboard: bool


class RepeatKeywords(TypedDict, total=False):
    """The keyword argument of `extract` and `finetune` on which the type of their result depends."""

    repeats: Annotated[int, Field(ge=MIN_REPEATS, le=MAX_REPEATS)] | None


class AutoKeywords(ImageOptions, total=False):
    """The keyword arguments of `auto`: the options of the command."""

    time_budget: _Positive | str | None
    among: str | Sequence[str] | None
    download: bool
    cache_limit: int | str | None


class EnsembleKeywords(TypedDict, total=False):
    """The keyword arguments of `ensemble`: the options of the command."""

    output: StrPath | None
    method: str | None
    max_models: _Count | None
    max_ms: _Positive | None
    seed: _Seed | None
    images: StrPath | None
    cache_limit: int | str | None
    overwrite: bool


Options = Mapping[str, Any]
"""The options of a command by their names; None, or no entry, is the default."""


@dataclass(frozen=True)
class TrainingJob:
    """One training: the request, the recipe, and how many bags are combined by which method, or how many repeats."""

    request: TrainingRequest
    recipe: ExtractRecipe | FinetuneRecipe
    bags: int | None = None
    has_default_name: bool = False
    repeats: int | None = None
    method: str = ensemble_methods.AVERAGE

    @classmethod
    def of(cls, request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, options: Options) -> TrainingJob:
        """Return the training of a command with these options."""
        bags, repeats = options.get("bags"), options.get("repeats")
        if bags and repeats:
            raise OptionError("--repeats cannot be combined with --bags.", hint="Leave out --repeats or --bags.")
        method = options.get("method")
        if method and not bags:
            raise OptionError(
                f"--method combines the models of --bags. Received: --method {method} without --bags.",
                hint="Add --bags 5, or leave out --method. To combine finished runs: transfer-cli ensemble RUN RUN",
            )
        method = ensemble_methods.find(method).name if method else ensemble_methods.AVERAGE
        return cls(request, recipe, bags, options.get("output") is None, repeats, method)

    @property
    def trains_model(self) -> bool:
        """Whether the run gets a model: `extract` can also write features alone."""
        return isinstance(self.recipe, FinetuneRecipe) or self.recipe.classifier.name != classifiers.NONE

    def run(self) -> TrainingResult:
        """Train; a run whose default name is taken by another one gets a name of its own."""
        return _naming(self.has_default_name)(self.request, self._train)

    def _train(self, request: TrainingRequest) -> TrainingResult:
        if self.bags:
            from transfer_cli.ensembling.bagging import bagged

            return bagged(request, self.recipe, self.bags, self.method)
        if isinstance(self.recipe, ExtractRecipe):
            from transfer_cli.training.extract import extract

            return extract(request, self.recipe)
        from transfer_cli.training.finetune import finetune

        return finetune(request, self.recipe)

    def run_repeats(self) -> Repeats:
        """Train the repeats; a folder whose default name is taken by others gets a name of its own."""
        from transfer_cli.training.repeats import repeated

        assert self.repeats is not None
        recipe, repeats = self.recipe, self.repeats
        return _naming(self.has_default_name)(self.request, lambda own: repeated(own, recipe, repeats))

    def plan(self) -> Plan:
        """Return what a fine-tuning would do and take; nothing is written."""
        from transfer_cli.training.planning.plan import plan

        assert isinstance(self.recipe, FinetuneRecipe)
        if self.repeats:
            raise OptionError("--plan is about one training.", hint="Leave out --repeats or --plan.")
        if self.bags and self.request.time_budget:
            raise InputError("A plan of bags cannot have a time budget.", hint="Leave out --bags or --time-budget.")
        recipe, bags = self.recipe, self.bags

        def planned(own: TrainingRequest) -> Plan:
            return plan(replace(own, run=own.run.bag(1)) if bags else own, recipe)

        return _naming(self.has_default_name)(self.request, planned)


def extract_job(
    folder: ImageFolder | StrPath, options: Options, command: Sequence[str], progress: Progress
) -> TrainingJob:
    """Return the training that `extract` with these options is."""
    overrides = {
        **backbone_overrides(options),
        "classifier.name": options.get("classifier"),
        "classifier.tune": options.get("tune"),
        "split.group_by": options.get("group_by"),
    }
    recipe = ExtractRecipe.load(options.get("recipe"), *_settings(options, overrides))
    optional = recipe.classifier.name == classifiers.NONE
    images = scan_images(folder, options, group_by=recipe.split.group_by, labels_optional=optional)
    run = _run(options, images.name, recipe.backbone.short_name, *_repeats_word(options))
    request = training_request(images, run, options, command, progress)
    return TrainingJob.of(request, recipe, options)


def finetune_job(
    folder: ImageFolder | StrPath, options: Options, command: Sequence[str], progress: Progress
) -> TrainingJob:
    """Return the training that `finetune` with these options is."""
    unlabelled = options.get("unlabelled")
    overrides = {
        **backbone_overrides(options),
        "hardware.precision": options.get("precision"),
        "split.group_by": options.get("group_by"),
        **stage_overrides(options),
        "unlabelled.folder": unlabelled and str(as_path(unlabelled, "a folder").absolute()),
    }
    recipe = FinetuneRecipe.load(options.get("recipe"), *_settings(options, overrides))
    images = scan_images(folder, options, group_by=recipe.split.group_by)
    run = _run(options, images.name, recipe.backbone.short_name, "finetune", *_repeats_word(options))
    request = training_request(images, run, options, command, progress)
    return TrainingJob.of(request, recipe, options)


def auto_request(
    folder: ImageFolder | StrPath, options: Options, command: Sequence[str], progress: Progress
) -> tuple[TrainingRequest, AutoRecipe]:
    """Return what `auto` with these options does."""
    images = scan_images(folder, options, group_by=options.get("group_by"))
    recipe = AutoRecipe(
        seed=options.get("seed") or 0,
        seconds=seconds_of(options.get("time_budget")) or AutoRecipe().seconds,
        among=_names(options.get("among")),
        download=bool(options.get("download")),
        group_by=options.get("group_by"),
        bit_depth=options.get("bit_depth"),
    )
    run = _run(options, "auto", images.name)
    return training_request(images, run, {**options, "time_budget": None}, command, progress), recipe


def ensemble_request(
    runs: Sequence[StrPath], options: Options, command: Sequence[str], progress: Progress
) -> tuple[EnsembleRequest, EnsembleRecipe]:
    """Return what `ensemble` with these options does."""
    chosen = {name: options.get(name) for name in ("method", "max_models", "max_ms")}
    limits = [name for name in ("max_models", "max_ms") if chosen[name]]
    if limits and chosen["method"] != ensemble_methods.GREEDY:
        raise InputError(
            f"{' and '.join(limits)} are limits of the method {ensemble_methods.GREEDY}. "
            f"Received: {chosen['method'] or 'no method'}."
        )
    request = EnsembleRequest(
        [as_path(run, "each run") for run in runs],
        _run(options, "ensemble", _images_name(as_path(runs[0], "each run")) if runs else "images"),
        overwrite=bool(options.get("overwrite")),
        images=_path(options, "images"),
        command=command,
        cache=cache_of(options),
        progress=progress,
    )
    return request, EnsembleRecipe(seed=options.get("seed") or 0, ensemble=EnsembleOptions(**chosen))


def backbone_overrides(options: Options) -> dict[str, Any]:
    """Return the settings of a recipe that the options of the backbone, the runtime and the seed override."""
    name = _text(options.get("backbone"))
    if name and not backbones.is_network_file(name):
        # A wrong name on the command line is a usage error, not a recipe error.
        backbones.find(name)
    return {
        "backbone.name": name,
        "backbone.preprocess": options.get("preprocess"),
        "backbone.weights": _text(options.get("weights")),
        **{f"backbone.{key}": options.get(key) for key in ("pooling", "layer")},
        "inference.runtime": options.get("runtime"),
        "images.bit_depth": options.get("bit_depth"),
        "seed": options.get("seed"),
    }


def stage_overrides(options: Options) -> dict[str, Any]:
    """Return the settings of a recipe that the options of its last stage and of the batches override."""
    return {
        "stage.last.epochs": options.get("epochs"),
        "stage.last.learning_rate": options.get("lr"),
        "batch_size": options.get("batch_size"),
    }


def scan_images(
    folder: ImageFolder | StrPath,
    options: Options,
    *,
    group_by: str | None = None,
    for_training: bool = True,
    selection: ImageSelection | None = None,
    labels_optional: bool = False,
) -> ImageFolder:
    """Return the images of a folder or CSV file, read as the options say; `group_by` is that of the recipe."""
    if isinstance(folder, ImageFolder):
        return folder
    columns = options.get("path_column"), options.get("label_column"), group_column(group_by)
    table = TableOptions(*columns, _path(options, "images"))
    level = options.get("class_level")
    selection = selection or ImageSelection.read(_path(options, "class_map"), _path(options, "omit"))
    scan = scan_labels_optional if labels_optional else ImageFolder.scan
    return scan(folder, for_training=for_training, table=table, class_level=level, selection=selection)


def training_request(
    images: ImageFolder, run: RunDirectory, options: Options, command: Sequence[str], progress: Progress
) -> TrainingRequest:
    """Return the request of a training, from the options that it has."""
    split = _path(options, "split")
    fields = ("strict", "overwrite", "min_accuracy", "tensorboard", "offline")
    return TrainingRequest(
        images,
        run,
        split=None if split is None else given_split.read(split_table(split), images),
        command=command,
        cache=cache_of(options),
        progress=progress,
        time_budget=seconds_of(options.get("time_budget")),
        begun=options.get("begun") or time.monotonic(),
        **{name: options[name] for name in fields if name in options},
    )


def cache_of(options: Options) -> Cache:
    """Return the user's cache with the limit of `cache_limit`: bytes, or text such as 5GB."""
    limit = options.get("cache_limit")
    return Cache.of_user(parse_size(limit) if isinstance(limit, str) else limit)


def seconds_of(time_budget: float | str | None) -> float | None:
    """Return a time budget in seconds: a number, or text such as 10m."""
    if not isinstance(time_budget, str):
        return time_budget
    if (seconds := parse_duration(time_budget)) is None:
        expected = "seconds, or text such as '90s', '10m' or '1h30m'"
        raise InputError(f"{time_budget!r} is not a time span. Expected {expected}.")
    return seconds


def _settings(options: Options, overrides: Mapping[str, Any]) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return the overrides of a recipe as text, and as values; `set` is before the options with names of their own."""
    given = options.get("set") or ()
    if isinstance(given, Mapping):
        return (), {**overrides, **{key: _text(value) for key, value in given.items()}}
    return ([given] if isinstance(given, str) else given), overrides


def _run(options: Options, *words: str) -> RunDirectory:
    output = options.get("output")
    return RunDirectory(output if output else default_path(*words))


def _repeats_word(options: Options) -> list[str]:
    """Return the last word of the default name of repeats: a single training may be beside them."""
    return ["repeats"] if options.get("repeats") else []


def naming(options: Options) -> Naming:
    """Return the function that calls a training: with another name if the default one is taken by another run."""
    return _naming(options.get("output") is None)


def _naming(has_default_name: bool) -> Naming:
    return with_own_name if has_default_name else as_named


def _images_name(run: Path) -> str:
    """Return the name of the folder or CSV file that a run was trained on."""
    path = RunDirectory(run).folder
    source = Path(read_regular_text(path).strip() if path.is_file() else "")
    return (source.stem if source.suffix.lower() in TABLE_SUFFIXES else source.name) or "images"


def _text(value: Any) -> Any:
    """Return the text of a path object, and any other value as it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _path(options: Options, name: str) -> Path | None:
    value = options.get(name)
    return None if value is None else as_path(value, name)


def _names(names: str | Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    return tuple(names or ())
