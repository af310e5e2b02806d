"""The recipe of an ensemble: method and members."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import Field, field_validator

from transfer_cli.catalog import ensemble_methods
from transfer_cli.recipe.sections import Choices


class EnsembleOptions(Choices):
    """How the predictions of the members are combined."""

    method: str | None = Field(
        default=None,
        description="Ensemble method. Default: weighted, or average if there is no validation set to fit weights on.",
    )
    max_models: int | None = Field(default=None, ge=1, description="greedy: maximum number of distinct members.")
    max_ms: float | None = Field(
        default=None, gt=0, description="greedy: maximum total time of the members in ms per image."
    )

    @field_validator("method")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        return None if name is None else ensemble_methods.find(name).name


class MemberRun(Choices):
    """A run that is a member of the ensemble."""

    run: str = Field(description="Name of the run, without its location.")
    digest: str = Field(description="SHA-256 of the manifest of its bundle: a retrained run makes another ensemble.")


class EnsembleRecipe(Choices):
    """All settings of an ensemble; the copy in the run also lists its members."""

    method: Literal["ensemble"] = Field(default="ensemble", description="Command that the recipe is for.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Random seed of the cross-validation folds on the validation set."
    )
    ensemble: EnsembleOptions = EnsembleOptions()
    member: tuple[MemberRun, ...] = Field(default=(), strict=False)

    def to_toml(self) -> str:
        """Return the recipe as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
