"""Which methods can combine the members of a bagged model: checked before hours are spent on training them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.ensemble_methods import EnsembleMethodSpec
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError, RunConflictError
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.runs.run_directory import RunDirectory


def check_method(
    spec: EnsembleMethodSpec, folder: ImageFolder, recipe: ExtractRecipe | FinetuneRecipe, split: Split | None
) -> None:
    """Raise InputError if the members of a bagged model could not be combined by a method.

    Parameters
    ----------
    spec : EnsembleMethodSpec
    folder : ImageFolder
    recipe : ExtractRecipe or FinetuneRecipe
        That of the members.
    split : Split or None
        The split that the members follow, if there is one.
    """
    if folder.task != SINGLE_LABEL and not spec.multi_label:
        usable = ", ".join(name for name in ensemble_methods.names() if ensemble_methods.find(name).multi_label)
        raise InputError(
            f"--method {spec.name} needs exactly one class per image. Received a folder with several labels per image. "
            f"Expected {usable}."
        )
    if spec.single_network and isinstance(recipe, ExtractRecipe):
        raise InputError(
            f"--method {spec.name} averages the weights of trained networks, and extract trains none.",
            hint=f"Use finetune, or average the predictions: --method {ensemble_methods.AVERAGE}",
        )
    if spec.fitted and not _has_val(folder, recipe, split):
        raise InputError(
            f"--method {spec.name} is fitted on images that no member was trained on, but each bag leaves out other "
            "images, and there is no validation set.",
            hint=f"Add --set split.val=0.2, or use --method {ensemble_methods.AVERAGE} or {ensemble_methods.VOTE}.",
        )


def check_same_method(run: RunDirectory, earlier: Mapping[str, Any], combination: EnsembleRecipe) -> None:
    """Raise RunConflictError if a bagged run in the same place was combined by another method."""
    options, now = earlier.get("ensemble"), combination.ensemble.method
    was = options.get("method") if isinstance(options, dict) else None
    if was != now:
        raise RunConflictError(run.path, [f"--method is {was} there and {now} here"])


def _has_val(folder: ImageFolder, recipe: ExtractRecipe | FinetuneRecipe, split: Split | None) -> bool:
    if split is not None and "val" in split.counts():
        return True
    return recipe.split.val > 0 or any(file.part == "val" for file in folder.files)
