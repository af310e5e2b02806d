"""Where the network of a recipe comes from, if not from the catalog: digest of its file, and its ancestors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from transfer_cli.catalog import backbones
from transfer_cli.errors import ModelError
from transfer_cli.inference.earlier_run import EarlierRun
from transfer_cli.models.weights.network_file import NetworkFile
from transfer_cli.progress import Progress
from transfer_cli.recipe.recipes import Recipe

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def with_origin(recipe: AnyRecipe, progress: Progress) -> AnyRecipe:
    """Return a resolved recipe with the digest of its network file, and with the runs that its weights come from.

    Raises
    ------
    ModelError
        If the file cannot be used, or the earlier run does not fit.
    """
    choice = recipe.backbone
    settings: dict[str, Any] = {"sha256": None, "ancestors": None}
    if choice.is_file:
        settings["sha256"] = NetworkFile.read(Path(choice.name)).sha256
        if choice.sha256 not in (None, settings["sha256"]):
            progress.warn(f"{choice.name} is another file than the one that the recipe was written for")
    # A recipe of an earlier training names ancestors, and possibly other weights now.
    recipe = recipe.with_settings("backbone", **settings)
    if recipe.backbone.starts_from_run:
        earlier = EarlierRun.open(Path(choice.weights))
        earlier.check_fits(recipe)
        recipe = recipe.with_settings("backbone", ancestors=earlier.lineage)
    elif choice.is_file and choice.weights != backbones.IN_FILE:
        raise ModelError(
            f"{choice.name} has weights of its own. Expected no --weights, or the folder of an earlier run. Received: "
            f"{choice.weights}."
        )
    return recipe
