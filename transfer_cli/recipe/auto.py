"""The recipe of `auto`."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import Field

from transfer_cli.recipe.sections import Choices


class AutoRecipe(Choices):
    """The settings of `auto`, kept in the run until the chosen model's recipe replaces them."""

    method: Literal["auto"] = Field(default="auto", description="Command that the recipe is for.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Random seed of the split and of training.")
    seconds: float = Field(default=600.0, gt=0, description="Time available for the whole command in seconds.")
    among: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Names or wildcards of backbones to try. Default: all whose weights are installed.",
    )
    download: bool = Field(default=False, description="Whether to download missing weights.")
    group_by: str | None = Field(default=None, description="As split.group_by of a recipe.")

    def to_toml(self) -> str:
        """Return the recipe as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
