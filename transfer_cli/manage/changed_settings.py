"""The settings of a run that are not the defaults of its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_cli.catalog.backbones import IN_RECIPE
from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.errors import TransferError
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.ranking.options import RankOptions
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import METHODS
from transfer_cli.runs.recipe_differences import ChangedSetting, changed_settings
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions

_CHOSEN = {"inference.runtime": "--runtime", "ensemble.method": "--method"}
"""Settings whose default is chosen by the program: a difference only if they were typed."""


def settings_of_run(run: RunDirectory, task: Task = SINGLE_LABEL) -> list[ChangedSetting]:
    """Return the settings of a run that differ from the defaults, with the option of each.

    Parameters
    ----------
    run : RunDirectory
    task : str
        A row of `catalog.tasks`, on which some defaults depend.
    """
    typed = TypedOptions.read(run.command)
    recipe = _requested(run)
    try:
        defaults = _defaults(recipe, task)
    except TransferError:
        return []  # of another version
    changed = changed_settings(defaults, {**recipe, "member": None}, typed)
    return [each for each in changed if each.key not in _CHOSEN or typed.has(_CHOSEN[each.key])]


def settings_of_ranking(settings: Mapping[str, Any], typed: TypedOptions) -> list[ChangedSetting]:
    """Return the settings of a ranking that differ from the defaults."""
    return changed_settings(RankOptions().settings(None), settings, typed)


def _requested(run: RunDirectory) -> dict[str, Any]:
    """Return the recipe as it was requested: with a time budget before its epochs were reduced, of `auto` its own."""
    try:
        if run.auto.is_file():
            return dict(read_json(run.auto)["recipe"])
        if run.plan.is_file():
            plan = read_json(run.plan)
            return {**plan["requested"], "time_budget": plan["time_budget"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # damaged, which is told elsewhere
    return run.read_recipe()


def _defaults(recipe: Mapping[str, Any], task: Task) -> dict[str, Any]:
    method = recipe.get("method")
    if method == "auto":
        return AutoRecipe().model_dump(mode="json")
    if method not in METHODS:
        return EnsembleRecipe().model_dump(mode="json")
    kind = METHODS[str(method)]
    usual = kind.load().backbone.name
    backbone = recipe.get("backbone")
    chosen = backbone.get("name", usual) if isinstance(backbone, dict) else usual
    # Other defaults, such as the size of the images, depend on the backbone.
    settings = {"network": {}} if chosen == IN_RECIPE else {"backbone.name": chosen}
    defaults = kind.load(settings=settings).resolved(task).model_dump(mode="json")
    # The sections of a described network tell what it is; no option names it.
    return {**defaults, "backbone": {**defaults["backbone"], "name": chosen if chosen == IN_RECIPE else usual}}
