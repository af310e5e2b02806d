"""The recipe of `auto`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transfer_cli.recipe.sections import Classes, Positive, RecipeFile, Seed


class AutoRecipe(RecipeFile):
    """The settings of `auto`, kept in the run until the chosen model's recipe replaces them."""

    method: Literal["auto"] = Field(default="auto", description="Command that the recipe is for.")
    seed: Seed = Field(default=0, description="Random seed of the split and of training.")
    seconds: Positive = Field(default=600.0, description="Time available for the whole command in seconds.")
    among: tuple[str, ...] = Field(
        default=(), strict=False, description="Names or wildcards of backbones to try. Default: all installed ones."
    )
    download: bool = Field(default=False, description="Whether to download missing weights.")
    group_by: str | None = Field(default=None, description="As split.group_by of a recipe.")
    bit_depth: int | None = Field(default=None, ge=8, le=16, description="As images.bit_depth of a recipe.")
    classes: Classes = Classes()
