"""Every choice of an ensemble, and what it is made of."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import Field, field_validator

from transfer_cli.catalog import ensemble_methods
from transfer_cli.recipe.sections import Choices


class EnsembleOptions(Choices):
    """How the answers of the members become one."""

    method: str | None = None
    """A row of catalog.combiners; weighted where it is not given, or average where nothing was held out to weigh by."""
    max_models: int | None = Field(default=None, ge=1)
    """So many different members a greedy selection takes at most."""
    max_ms: float | None = Field(default=None, gt=0)
    """So many milliseconds a picture those of a greedy selection may take together."""

    @field_validator("method")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        return None if name is None else ensemble_methods.find(name).name


class MemberRun(Choices):
    """A run that is a member."""

    run: str
    """What it is called; where it lies is nobody's business elsewhere."""
    digest: str
    """Of its bundle's manifest, so that a run that was made anew makes another ensemble."""


class EnsembleRecipe(Choices):
    """Every choice of an ensemble; the copy in the run says its members, too."""

    method: Literal["ensemble"] = "ensemble"
    """Which command the recipe is for."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the folds that say how good what was fitted on val is there."""
    ensemble: EnsembleOptions = EnsembleOptions()
    member: tuple[MemberRun, ...] = Field(default=(), strict=False)

    def to_toml(self) -> str:
        """Return the recipe as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
