"""The recipe of an ensemble: method and members."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from transfer_cli.catalog import ensemble_methods
from transfer_cli.recipe.sections import Choices, Classes, Count, Positive, RecipeFile, Seed


class EnsembleOptions(Choices):
    """How the predictions of the members are combined."""

    method: Annotated[str, AfterValidator(lambda name: ensemble_methods.find(name).name)] | None = Field(
        default=None, description="Ensemble method. Default: weighted; average if no validation set can fit weights."
    )
    max_models: Count | None = Field(default=None, description="greedy: maximum number of distinct members.")
    max_ms: Positive | None = Field(default=None, description="greedy: maximum time of all members in ms per image.")


class MemberRun(Choices):
    """A run that is a member of the ensemble."""

    run: str = Field(description="Name of the run, without its location.")
    digest: str = Field(description="SHA-256 of the manifest of its bundle: a retrained run makes another ensemble.")


class EnsembleRecipe(RecipeFile):
    """All settings of an ensemble; the copy in the run also lists its members."""

    method: Literal["ensemble"] = Field(default="ensemble", description="Command that the recipe is for.")
    seed: Seed = Field(default=0, description="Random seed of the cross-validation folds on the validation set.")
    ensemble: EnsembleOptions = EnsembleOptions()
    member: tuple[MemberRun, ...] = Field(default=(), strict=False)
    classes: Classes = Classes()
