"""Recipes: all settings of a training, read from TOML, overridden one by one, validated together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, layers, optimizers, tasks
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task, TaskSpec
from transfer_cli.data.views import View
from transfer_cli.errors import RecipeError, TransferError, UnknownNameError, did_you_mean
from transfer_cli.recipe import sections, stages, toml_source
from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.recipe.builtin_recipes import builtin_recipe, recipe_names
from transfer_cli.recipe.network import Network
from transfer_cli.recipe.network_plan import spec_of
from transfer_cli.recipe.normalization import Normalization
from transfer_cli.recipe.other_names import LAST_STAGE
from transfer_cli.recipe.unknown_settings import Vocabulary
from transfer_cli.text import shell_command

DEFAULT = "default"
"""The built-in recipe that `finetune` uses by default."""


class Recipe(sections.RecipeFile):
    """All settings of one training; `load` returns an ExtractRecipe or a FinetuneRecipe.

    `resolved` fills in defaults that depend on the backbone and the task; the run keeps that copy.
    """

    batch_size: int = Field(
        default=32, ge=1, le=4096, description="Images per batch, and per optimizer step (see hardware.accumulate)."
    )
    bag: sections.Count | None = Field(
        default=None,
        description="Number of the bootstrap sample to train on (see --bags). Default: the whole training set.",
    )
    images: sections.Images = sections.Images()
    split: sections.Parts = sections.Parts()
    classes: sections.Classes = sections.Classes()
    backbone: sections.Backbone = sections.Backbone()
    inference: sections.Inference = sections.Inference()

    default_source: ClassVar[str | None] = None
    """The built-in recipe that is the default, or None if the defaults of the settings are."""

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels; only of a resolved recipe."""
        assert self.images.size is not None
        return self.images.size

    @property
    def view(self) -> View:
        """How images are decoded; only of a resolved recipe."""
        return View(self.image_size, self.images.resize, self.images.bit_depth)

    @property
    def spec(self) -> BackboneSpec:
        """The network: a row of the catalog, what a .keras file holds, or what the recipe describes.

        Raises
        ------
        ModelError
            If a .keras file is missing or cannot be used.
        """
        return self.backbone.spec

    @property
    def trains_all(self) -> bool:
        """Whether a stage trains all layers of the backbone."""
        return False

    @property
    def input_normalization(self) -> Normalization:
        """How the network normalises its images after it has scaled them."""
        return Normalization()

    @model_validator(mode="after")
    def _described_network_has_a_section(self) -> Self:
        if self.backbone.name == backbones.IN_RECIPE and getattr(self, "network", None) is None:
            raise ValueError(
                f"backbone.name = {backbones.IN_RECIPE} stands for what a section [network] of a recipe for finetune "
                "describes, and there is none. Expected a name (transfer-cli backbones list), or that section."
            )
        return self

    @classmethod
    def load(
        cls, source: StrPath | None = None, overrides: Sequence[str] = (), settings: Mapping[str, object] | None = None
    ) -> Self:
        """Read a recipe and override single settings.

        Parameters
        ----------
        source : str, optional
            A built-in name (`recipe_names`) or the path of a TOML file. Default: the method's defaults.
        overrides : sequence of str
            ``section.key=value``, ``stage.1.key=value`` or ``stage.last.key=value``; the value is TOML or a bare word.
        settings : mapping of str to object, optional
            ``{"section.key": value}``, applied before `overrides`; None means no override.

        Returns
        -------
        ExtractRecipe or FinetuneRecipe
            The class that it is called on; called on Recipe, the class that the file's method names.

        Raises
        ------
        RecipeError
            Lists all errors of the file and the overrides.
        UnknownNameError
            If the backbone has no layer of a name in the recipe.
        """
        what = "settings" if source in (None, "") else "recipe"
        source = cls.default_source if source in (None, "") else as_text(source, "a recipe")
        overrides = [overrides] if isinstance(overrides, str) else overrides
        path = cls.locate(source) if source else None
        text, data = toml_source.read(path) if path else ("", {})
        changes = {key: value for key, value in (settings or {}).items() if value is not None}
        changes |= dict(map(toml_source.parse_override, overrides))
        kind = cls._kind(data, source)
        stages_of_file = data.get("stage")
        count = len(stages_of_file) if isinstance(stages_of_file, list) else 1
        changes = {re.sub(rf"^{LAST_STAGE}\b", f"stage.{count}", key): value for key, value in changes.items()}
        for key, value in changes.items():
            toml_source.override(data, key, value)
        try:
            recipe: Self = kind.model_validate(data)
        except ValidationError as error:
            places = toml_source.Places(path, text, changes)
            message = toml_source.error_message(error, kind.vocabulary(count), places, what)
            raise RecipeError(message) from None
        recipe.check_layers()
        return recipe

    @classmethod
    def vocabulary(cls, count: int = 1) -> Vocabulary:
        """Return the settings of such a recipe with `count` stages, and those of the other commands."""
        return Vocabulary(cls, {name: other for name, other in METHODS.items() if other is not cls}, count)

    @classmethod
    def setting_for(cls, word: str, value: str | None) -> str | None:
        """Return the ``KEY=VALUE`` of ``--set`` that a word of another program means, or None if there is none.

        A `value` that the setting does not accept is left out.
        """
        names = cls.vocabulary().settings_for(word)
        if len(names) == 1 and value is not None:
            with suppress(TransferError):
                cls.load(None, [f"{names[0]}={value}"])
                return f"{names[0]}={value}"
        return f"{' or --set '.join(f'{name}=VALUE' for name in names)}" if names else None

    @classmethod
    def _kind(cls, data: Mapping[str, Any], source: str | None) -> type[Self]:
        """Return the recipe class that the method of `data` names."""
        if cls is Recipe:
            # Without a method, the sections tell which one the file is for.
            own_sections = FinetuneRecipe.model_fields.keys() - ExtractRecipe.model_fields.keys()
            likely = "finetune" if data.keys() & own_sections else "extract"
            return METHODS.get(str(data.get("method", likely)), METHODS[likely])  # type: ignore[return-value]
        own = cls.model_fields["method"].default
        method = data.get("method", own)
        if method in METHODS and method != own:
            raise RecipeError(
                f"{source} is a recipe for {method}, not for {own}. "
                f"Built-in recipes for {own}: {', '.join(recipe_names(own))}.",
                hint=f"Use: transfer-cli {method} FOLDER --recipe {shell_command(source)}",
            )
        return cls

    @classmethod
    def locate(cls, source: str) -> Path:
        """Return the file of a recipe; a name that is none is answered with those of this command."""
        if source in recipe_names():
            return builtin_recipe(source)
        path = Path(source)
        files: list[str] = []
        # A name that is too long for a file raises OSError.
        with suppress(OSError, ValueError):
            if path.is_file():
                return path
            if (path / "recipe.toml").is_file():
                recipe = shell_command(str(path / "recipe.toml"))
                raise RecipeError(f"{source} is a run.", hint=f"Use its recipe: --recipe {recipe}")
            if path.is_dir():
                raise RecipeError(f"{source} is a folder. Expected the path of a TOML file.")
            files = [str(file) for file in path.parent.glob("*.toml")]
        names = recipe_names(None if cls is Recipe else cls.model_fields["method"].default)
        raise RecipeError(
            f"No recipe and no file is called {source!r}.{did_you_mean(source, [*files, *names])} "
            f"Expected one of {', '.join(names)}, or the path of a TOML file."
        )

    def check_layers(self) -> None:
        """Raise UnknownNameError if the backbone has no layer of a name in the recipe."""
        spec = self.spec
        if self.backbone.layer is not None and self.backbone.layer not in spec.top_layers:
            layers.check(f"layer of {spec.name}", self.backbone.layer, spec.name, known=spec.layer_names)

    def with_settings(self, section: str, **settings: object) -> Self:
        """Return the recipe with other settings in one section; they are not validated."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=settings)})

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with all defaults that depend on backbone, catalog and task filled in.

        Raises
        ------
        RecipeError
            If a setting does not fit the task.
        ModelError
            If the network is a file that cannot be used, or takes images of another size.
        """
        return self.with_settings("images", size=self.spec.input_size(self.images.size))


class ExtractRecipe(Recipe):
    """All settings of `extract`."""

    method: Literal["extract"] = Field(default="extract", description="Command that the recipe is for.")
    classifier: sections.Classifier = sections.Classifier()
    balance: sections.Balance = sections.Balance()

    @model_validator(mode="after")
    def _balance_is_no_loss(self) -> Self:
        if class_balancing.find(self.balance.method).focal:
            raise ValueError(f"balance.method = {self.balance.method} is a loss function, which only finetune has")
        return self

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with all defaults filled in."""
        if task == MULTI_LABEL and self.balance.method != "none":
            raise RecipeError("balance.method of extract is not possible for a folder with several labels per image.")
        name, tune = self.classifier.name or classifiers.default(task), self.classifier.tune
        if tune is None and name != classifiers.NONE:
            tune = classifiers.find(name).tuned
        usual = "flatten" if self.spec.is_handcrafted else "avg" if self.backbone.layer else "levels"
        pooling = self.backbone.pooling or usual
        return (
            super()
            .resolved(task)
            .with_settings("classifier", name=name, tune=bool(tune))
            .with_settings("backbone", pooling=pooling)
        )


class FinetuneRecipe(Recipe):
    """All settings of `finetune`."""

    method: Literal["finetune"] = Field(default="finetune", description="Command that the recipe is for.")
    split: sections.PartsWithVal = sections.PartsWithVal()
    network: Network | None = None
    head: sections.Head = sections.Head()
    stage: tuple[stages.Stage, ...] = Field(strict=False)
    early_stopping: stages.EarlyStopping = stages.EarlyStopping()
    refit: stages.Refit = stages.Refit()
    final: stages.Final = stages.Final()
    balance: sections.Balance = sections.Balance()
    unlabelled: sections.Unlabelled = sections.Unlabelled()
    trunk: stages.Trunk = stages.Trunk()
    hardware: sections.Hardware = sections.Hardware()
    augmentation: Augmentation = Augmentation()
    normalization: Normalization = Normalization()

    default_source: ClassVar[str | None] = DEFAULT

    @property
    def view(self) -> View:
        """How images are decoded; only of a resolved recipe."""
        return View(self.image_size, self.images.resize, self.images.bit_depth)

    @property
    def spec(self) -> BackboneSpec:
        """The network, see `Recipe.spec`; of a `network` section with all its layers."""
        return spec_of(self.network, self.images.size, self._pooling) if self.network else super().spec

    @property
    def _pooling(self) -> str:
        """How the last feature map becomes a vector."""
        usual = self.network.default_pooling() if self.network else "avg"
        return heads.find(self.head.kind).pooling or self.backbone.pooling or usual

    @property
    def trains_all(self) -> bool:
        """Whether a stage trains all layers of the backbone."""
        return any(stage.unfreeze == "all" for stage in self.stage)

    @property
    def input_normalization(self) -> Normalization:
        """How the network normalises its images after it has scaled them."""
        return self.normalization

    @model_validator(mode="before")
    @classmethod
    def _name_the_described_network(cls, data: Any) -> Any:
        """Name the backbone of a recipe that describes its network."""
        backbone = data.get("backbone", {}) if isinstance(data, dict) else None
        if not isinstance(backbone, dict) or data.get("network") is None:
            return data
        return {**data, "backbone": {"name": backbones.IN_RECIPE, **backbone}}

    @model_validator(mode="after")
    def _network_can_be_trained(self) -> Self:
        name, weights = self.backbone.name, self.backbone.weights
        if backbones.is_handcrafted(name):
            raise ValueError(
                f"{name} computes features without learning: there is nothing to train. Use transfer-cli extract, or "
                "describe a network (--recipe softmax-on-pixels, --recipe mlp)."
            )
        if self.network is None:
            return self
        if name != backbones.IN_RECIPE:
            raise ValueError(
                f"[network] describes the backbone, and backbone.name names another one: {name}. Expected one of both."
            )
        if weights in (backbones.IMAGENET, backbones.EMBEDDED):
            raise ValueError(
                f"there are no {weights} weights of the network that [network] describes. Expected backbone.weights = "
                "none (random), a weights file, or an earlier run of the same network."
            )
        _ = self.spec  # a layer may not fit the shape that it receives
        return self

    @field_validator("stage")
    @classmethod
    def _one_or_more(cls, given: tuple[stages.Stage, ...]) -> tuple[stages.Stage, ...]:
        if not given:
            raise ValueError("expected at least one [[stage]]")
        return given

    @model_validator(mode="after")
    def _pooling_fits_the_head(self) -> Self:
        if self.backbone.pooling == "levels":
            raise ValueError("backbone.pooling = levels is of extract. Expected avg, max or flatten for finetune.")
        pooling = heads.find(self.head.kind).pooling
        if pooling and "pooling" in self.backbone.model_fields_set and self.backbone.pooling != pooling:
            raise ValueError(
                f"head.kind = {self.head.kind} needs backbone.pooling = {pooling}. Received: {self.backbone.pooling!r}."
            )
        return self

    @model_validator(mode="after")
    def _batch_norm_has_batches(self) -> Self:
        if self.head.batch_norm and self.batch_size == 1:
            raise ValueError(
                "head.batch_norm needs the statistics of several images. Expected batch_size of at least 2."
            )
        return self

    @model_validator(mode="after")
    def _normalization_is_learnt(self) -> Self:
        words, choice = " and ".join(self.normalization.words), self.backbone
        if words and choice.weights != backbones.RANDOM and not choice.starts_from_run:
            raise ValueError(
                f"normalization.{words} is for networks that are trained from scratch: a pretrained one needs its "
                "pixels as it was trained with them. Expected backbone.weights = none, or an earlier run with the same "
                f"[normalization]. Received: {choice.weights}."
            )
        if words and not choice.is_file and backbones.find(choice.name).scheme == "inside":
            raise ValueError(
                f"normalization.{words} follows the scaling of the pixels, which {choice.name} does inside. Expected a "
                "network with another preprocessing (transfer-cli backbones show NAME)."
            )
        return self

    @model_validator(mode="after")
    def _final_fits_the_head(self) -> Self:
        kept, fits = self.final.classifier, self._has_default_features
        if kept == "features" and not fits:
            raise ValueError(
                "final.classifier = features replaces a linear head on the average of the last feature map; this "
                "recipe has another head, pooling or layer. Expected final.classifier = head."
            )
        if kept == "head" and (self.final.interpolate != 1 or self.final.probe not in (0, "auto")):
            raise ValueError(
                "final.probe and final.interpolate need final.classifier = features: the head was trained with other "
                f"weights. Received: final.classifier = head, final.probe = {self.final.probe}, "
                f"final.interpolate = {self.final.interpolate}."
            )
        return self

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with all defaults filled in."""
        task_spec, spec = tasks.TASKS[task], heads.find(self.head.kind)
        self._check_task(task_spec)
        balances_classes = task == SINGLE_LABEL and self.balance.method != "none"
        monitor = "balanced_accuracy" if balances_classes else task_spec.monitors[0]
        complete = [
            stage.model_copy(update={**optimizers.find(stage.optimizer).settings, **stage.optimizer_settings()})
            for stage in self.stage
        ]
        return (
            super()
            .resolved(task)
            .with_settings("early_stopping", monitor=self.early_stopping.monitor or monitor)
            .with_settings("head", start=self._head_start(), units=self.head.units or spec.units)
            .with_settings("backbone", pooling=self._pooling)
            .model_copy(update={"stage": tuple(complete), "final": self._resolved_final()})
        )

    @property
    def _has_default_features(self) -> bool:
        """Whether the head is linear, on the average of the last feature map."""
        pooling = heads.find(self.head.kind).pooling or self.backbone.pooling
        usual = pooling in (None, "avg") and self.backbone.layer is None and self.network is None
        return self.head.kind == heads.LINEAR and usual

    def _head_start(self) -> str:
        """Return the initial weights of the head: a linear probe would keep a new network from learning features."""
        is_new = self.network is not None and self.backbone.weights == backbones.RANDOM
        return self.head.start or (heads.RANDOM if is_new else heads.find(self.head.kind).starts[0])

    def _resolved_final(self) -> stages.Final:
        """Return [final] with the classifier that fits; the share of the probe may depend on the validation set."""
        if self.final.classifier == "features":
            return self.final
        if self.final.classifier == "auto" and self._has_default_features and self.backbone.weights != backbones.RANDOM:
            return self.final.model_copy(update={"classifier": "features"})
        return stages.Final(classifier="head")

    def check_layers(self) -> None:
        """Raise UnknownNameError if the backbone has no layer of a name in the recipe."""
        super().check_layers()
        spec = self.spec
        for number, stage in enumerate(self.stage, start=1):
            if stage.first_layer is None:
                continue
            try:
                layers.check(
                    "layer to unfreeze from",
                    stage.first_layer,
                    spec.name,
                    below=self.backbone.layer,
                    known=spec.layer_names,
                )
            except UnknownNameError as error:
                raise stages.layer_error(number, spec.name, error) from None

    @property
    def step_size(self) -> int:
        """Number of images per optimizer step."""
        return self.batch_size * self.hardware.accumulate

    def _check_task(self, task: TaskSpec) -> None:
        """Raise RecipeError if a setting does not fit the task, which only the folder tells."""
        for key, received, able in (
            ("early_stopping.monitor", self.early_stopping.monitor or task.monitors[0], task.monitors),
            ("balance.method", self.balance.method, task.balances),
        ):
            if received not in able:
                raise RecipeError(
                    f"{key} = {received} is not possible for a {task.name} task ({task.summary}). "
                    f"Expected {', '.join(able)}."
                )


METHODS: Mapping[str, type[Recipe]] = {"extract": ExtractRecipe, "finetune": FinetuneRecipe}
