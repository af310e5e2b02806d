"""Every choice of a training, read from TOML, overridden word by word, checked all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from transfer_cli.catalog import backbones, class_balancing, classifiers, heads, optimizers, tasks
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task, TaskSpec
from transfer_cli.errors import OutputError, RecipeError, UnknownNameError, nearest
from transfer_cli.io.atomic import write_text
from transfer_cli.recipe import toml_source
from transfer_cli.recipe.augmentation import Augmentation
from transfer_cli.recipe.sections import (
    Backbone,
    Balance,
    Choices,
    Classifier,
    Hardware,
    Head,
    Images,
    Inference,
    Parts,
    PartsWithVal,
    Unlabelled,
)
from transfer_cli.recipe.stages import EarlyStopping, Refit, Stage, Trunk

DEFAULT = "default"
"""The shipped recipe that `finetune` takes where none is given."""


class Recipe(Choices):
    """Every choice of one run; `load` returns an ExtractRecipe or a FinetuneRecipe.

    `resolved` fills in what depends on the backbone, so that the copy in the run says everything.
    """

    method: Any
    """extract or finetune."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of all that is drawn by chance but the parts."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Pictures at a time, and a step (see hardware.accumulate)."""
    bag: int | None = Field(default=None, ge=1)
    """Which bootstrap sample of the train part is learnt from (see --bags); all of it where it is not given."""
    images: Images = Images()
    split: Parts = Parts()
    backbone: Backbone = Backbone()
    inference: Inference = Inference()

    @property
    def image_size(self) -> int:
        """Return the side of the network's input in pixels, of a resolved recipe."""
        assert self.images.size is not None
        return self.images.size

    @classmethod
    def load(
        cls,
        source: str | None = None,
        overrides: Sequence[str] = (),
        words: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the recipe called `source` (a shipped name or a file), overridden word by word.

        Parameters
        ----------
        source : str, optional
            A name out of `recipe_names` or the path of a TOML file; the method's defaults where it is not given.
        overrides : sequence of str
            Each ``section.word=value`` or ``stage.1.word=value``, the value as TOML or as a bare word.
        words : mapping of str to object, optional
            ``{"section.word": value}``; None is no override. They go before `overrides`.

        Returns
        -------
        ExtractRecipe or FinetuneRecipe
            Called on one of these, that one; called on Recipe, the one whose method the file says.

        Raises
        ------
        RecipeError
            With every fault of the file and of the overrides.
        """
        source = source or cls.default_source()
        path = _locate(source) if source else None
        text, data = toml_source.read(path) if path else ("", {})
        given = {word: value for word, value in (words or {}).items() if value is not None}
        given |= dict(map(toml_source.parse_override, overrides))
        kind = cls._kind(data, source)
        for word, value in given.items():
            toml_source.override(data, word, value)
        place = toml_source.Places(path, text, given)
        try:
            recipe: Self = kind.model_validate(data)
        except ValidationError as error:
            raise RecipeError(toml_source.faults(error, kind, place)) from None
        return recipe

    @classmethod
    def default_source(cls) -> str | None:
        """Return the shipped recipe that is taken where none is given, or None where the words' defaults are."""
        return None

    @classmethod
    def _kind(cls, data: Mapping[str, Any], source: str | None) -> type[Self]:
        """Return the class of the recipe that `data` is, by its method."""
        if cls is not Recipe:
            own = cls.model_fields["method"].default
            said = data.get("method", own)
            if said in METHODS and said != own:
                raise RecipeError(
                    f"{source} is a recipe of {said}, not of {own}.",
                    hint=f"Take: transfer-cli {said} FOLDER --recipe {source}",
                )
            return cls
        # A file that does not say its method is of the one whose sections it has.
        alone = FinetuneRecipe.model_fields.keys() - ExtractRecipe.model_fields.keys()
        likely = "finetune" if data.keys() & alone else "extract"
        return METHODS.get(str(data.get("method", likely)), METHODS[likely])  # type: ignore[return-value]

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with nothing left to the backbone, to the catalog or to the task.

        Raises
        ------
        RecipeError
            When it has a word that is none of the task.
        """
        size = self.images.size or backbones.find(self.backbone.name).size
        return self.model_copy(update={"images": self.images.model_copy(update={"size": size})})

    @property
    def trains_all(self) -> bool:
        """Whether all layers of the backbone learn in some stage."""
        return False

    def on_runtime(self, name: str) -> Self:
        """Return the recipe with the runtime that ``auto`` stands for."""
        return self.model_copy(update={"inference": self.inference.model_copy(update={"runtime": name})})

    def to_toml(self) -> str:
        """Return the recipe as TOML; reading it gives an equal recipe."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


class ExtractRecipe(Recipe):
    """Every choice of a classifier on features."""

    method: Literal["extract"] = "extract"
    """Which command the recipe is for."""
    classifier: Classifier = Classifier()
    balance: Balance = Balance()

    @model_validator(mode="after")
    def _balance_is_no_loss(self) -> Self:
        if class_balancing.find(self.balance.method).focal:
            raise ValueError(f"balance.method {self.balance.method} is a loss, which finetune can; extract cannot")
        return self

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with nothing left to the backbone, to the catalog or to the task."""
        if task == MULTI_LABEL and self.balance.method != "none":
            raise RecipeError(
                "balance.method of extract is for one class a picture; here a picture has several labels."
            )
        tune = self.classifier.tune
        if tune is None and self.classifier.name != classifiers.NONE:
            tune = classifiers.find(self.classifier.name).quick
        classifier = self.classifier.model_copy(update={"tune": bool(tune)})
        return super().resolved(task).model_copy(update={"classifier": classifier})


class FinetuneRecipe(Recipe):
    """Every choice of a fine-tuning."""

    method: Literal["finetune"] = "finetune"
    """Which command the recipe is for."""
    split: PartsWithVal = PartsWithVal()
    head: Head = Head()
    stage: tuple[Stage, ...] = Field(strict=False)
    early_stopping: EarlyStopping = EarlyStopping()
    refit: Refit = Refit()
    balance: Balance = Balance()
    unlabelled: Unlabelled = Unlabelled()
    trunk: Trunk = Trunk()
    hardware: Hardware = Hardware()
    augmentation: Augmentation = Augmentation()

    @classmethod
    def default_source(cls) -> str | None:
        """Return the shipped recipe that is taken where none is given."""
        return DEFAULT

    @property
    def trains_all(self) -> bool:
        """Whether all layers of the backbone learn in some stage."""
        return any(stage.unfreeze == "all" for stage in self.stage)

    @field_validator("stage")
    @classmethod
    def _one_or_more(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if not stages:
            raise ValueError("expected one [[stage]] or more")
        return stages

    @model_validator(mode="after")
    def _pooling_fits_the_head(self) -> Self:
        pooling = heads.find(self.head.kind).pooling
        if pooling and "pooling" in self.backbone.model_fields_set and self.backbone.pooling != pooling:
            raise ValueError(
                f"a head of kind {self.head.kind} takes backbone.pooling {pooling}. "
                f"Received: {self.backbone.pooling!r}."
            )
        return self

    def resolved(self, task: Task = SINGLE_LABEL) -> Self:
        """Return the recipe with nothing left to the backbone, to the catalog or to the task."""
        spec = heads.find(self.head.kind)
        head = {"start": self.head.start or spec.starts[0], "units": self.head.units or spec.units}
        backbone = {"pooling": spec.pooling or self.backbone.pooling}
        stages = [
            stage.model_copy(update={**optimizers.find(stage.optimizer).words, **stage.optimizer_words()})
            for stage in self.stage
        ]
        task_spec = tasks.TASKS[task]
        self._must_fit(task_spec)
        balances_classes = task == SINGLE_LABEL and self.balance.method != "none"
        usual = "balanced_accuracy" if balances_classes else task_spec.monitors[0]
        early = self.early_stopping.model_copy(update={"monitor": self.early_stopping.monitor or usual})
        return (
            super()
            .resolved(task)
            .model_copy(
                update={
                    "early_stopping": early,
                    "head": self.head.model_copy(update=head),
                    "backbone": self.backbone.model_copy(update=backbone),
                    "stage": tuple(stages),
                }
            )
        )

    @property
    def step_size(self) -> int:
        """How many pictures a step learns from."""
        return self.batch_size * self.hardware.accumulate

    def _must_fit(self, task: TaskSpec) -> None:
        """Raise RecipeError where a word is none of the task: what a folder holds is not known to the words."""
        monitor, method = self.early_stopping.monitor, self.balance.method
        for word, received, able in (
            ("early_stopping.monitor", monitor or task.monitors[0], task.monitors),
            ("balance.method", method, task.balances),
        ):
            if received not in able:
                raise RecipeError(
                    f"{word} {received} is none of a {task.name} task ({task.summary}). Expected {', '.join(able)}."
                )


METHODS: Mapping[str, type[Recipe]] = {"extract": ExtractRecipe, "finetune": FinetuneRecipe}


def recipes_folder() -> Path:
    """Return where the shipped recipes are: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "builtin"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def shipped(name: str) -> Path:
    """Return the file of a shipped recipe; raise UnknownNameError when there is none of that name."""
    if name not in recipe_names():
        raise UnknownNameError.of("recipe", name, recipe_names(), "See all: transfer-cli recipes list")
    return recipes_folder() / f"{name}.toml"


def copy_shipped(name: str, target: Path) -> Path:
    """Copy a shipped recipe and return where it is: `target`, or NAME.toml in the folder `target`.

    Raises
    ------
    UnknownNameError
        When there is no recipe of that name.
    OutputError
        When the file is there already, or cannot be written.
    """
    source = shipped(name)
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise OutputError(f"{target} is there already.", hint="Give the name of a file that is not there yet.")
    write_text(target, source.read_text("utf-8"))
    return target


def _locate(source: str) -> Path:
    if source in recipe_names():
        return shipped(source)
    path = Path(source)
    # A name too long for a file, too, is no file.
    with suppress(OSError, ValueError):
        if path.is_file():
            return path
        if (path / "recipe.toml").is_file():
            raise RecipeError(f"{source} is a run.", hint=f"Take its recipe: --recipe {path / 'recipe.toml'}")
        if path.is_dir():
            raise RecipeError(f"{source} is a folder. Expected the path of a TOML file.")
    near = nearest(source, recipe_names())
    guess = f" Did you mean {near}?" if near else ""
    raise RecipeError(
        f"There is no recipe and no file called {source!r}.{guess} "
        f"Expected one of {', '.join(recipe_names())}, or the path of a TOML file."
    )
