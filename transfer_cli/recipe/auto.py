"""What a person asks of ``auto``."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import Field

from transfer_cli.recipe.sections import Choices


class AutoRecipe(Choices):
    """Every choice that is not made by looking at the pictures; the run keeps it until it has a recipe of its own."""

    method: Literal["auto"] = "auto"
    """Which command the recipe is for."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the parts and of all that is drawn by chance."""
    seconds: float = Field(default=600.0, gt=0)
    """Of the whole command, into which its steps are planned."""
    among: tuple[str, ...] = Field(default=(), strict=False)
    """Names or patterns of backbones; all whose weights are here where none are given."""
    download: bool = False
    """Whether weights that are not here are brought."""
    group_by: str | None = None
    """Keeps relatives in one part, as split.group_by of a recipe."""

    def to_toml(self) -> str:
        """Return the recipe as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))
