"""A recipe with every open choice made, as it is written into the run."""

from __future__ import annotations

from typing import TypeVar

from transfer_cli.catalog import runtimes
from transfer_cli.data.groups import check_groups_of_folder
from transfer_cli.errors import InputError, RecipeError
from transfer_cli.inference import runtimes as installed
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.recipe.sections import Classes
from transfer_cli.runs.accuracy_gate import FLAG, check_task
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.origin import with_origin

_TABLES = {"--class-map": ("map", "class_map.csv"), "--omit": ("omit_sha256", "omit.csv")}
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def resolve_recipe(request: TrainingRequest, recipe: AnyRecipe, *, keeps_model: bool) -> AnyRecipe:
    """Return the recipe with every open choice made; an unfinished run keeps its runtime.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
    keeps_model : bool
        Whether the run will hold a model.

    Raises
    ------
    ModelError
        If the file or the run that its network comes from cannot be used.
    InputError
        If a minimum accuracy is requested and the run will have no accuracy.
    RecipeError
        If the images are to be grouped by a pattern that matches no path, or the recipe was made with a class map or a
        list of omitted images that is not applied.
    """
    classes = Classes.of(request.folder.selection)
    _check_tables(recipe.classes, classes)
    recipe = recipe.model_copy(update={"classes": classes})
    if recipe.split.group_by is not None:
        check_groups_of_folder(request.folder, recipe.split.group_by)
    if request.min_accuracy is not None:
        check_task(request.folder.task)
        if not keeps_model:
            raise InputError(
                f"{FLAG} needs a classifier, and this run trains none (--classifier none).",
                hint=f"Leave out {FLAG}, or choose a classifier: --classifier logistic",
            )
    runtime = recipe.inference.runtime
    if runtime == runtimes.AUTO and not request.overwrite:
        runtime = request.run.runtime() or runtime
    runtime = installed.resolve(
        runtime,
        images=len(request.folder.files),
        keeps_model=keeps_model,
        parameters=recipe.spec.parameters,
    )
    resolved = recipe.resolved(request.folder.task).with_settings("inference", runtime=runtime)
    return with_origin(resolved, request.progress)


def _check_tables(of_recipe: Classes, applied: Classes) -> None:
    """Raise RecipeError if a recipe records a table that is not applied: it would train on other images."""
    for option, (setting, file) in _TABLES.items():
        expected, received = getattr(of_recipe, setting), getattr(applied, setting)
        if expected is not None and received != expected:
            what = "no table" if received is None else "another table"
            raise RecipeError(
                f"The recipe was made with {option} (its section [classes]). Received: {what}.",
                hint=f"Add {option} with the copy in the run of the recipe: {option} RUN/{file}. Or remove the section "
                "[classes] from the recipe.",
            )
