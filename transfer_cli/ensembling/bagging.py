"""Bagging: train members on bootstrap samples of the training set, and combine their predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from transfer_cli.arguments import check_type
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import classifiers, ensemble_methods
from transfer_cli.data.split import Split
from transfer_cli.ensembling.bagging_method import check_method, check_same_method
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import InputError, RecipeError, RunConflictError
from transfer_cli.features.shared_extraction import SharedExtraction
from transfer_cli.io.atomic import remove
from transfer_cli.metrics.scores import headline
from transfer_cli.progress import SILENT
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.recipe.sections import Classes
from transfer_cli.runs.accuracy_gate import check_task
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.selection_tables import write_tables
from transfer_cli.text import counted, duration_text, format_duration
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune

TRAINING_SHARE = 0.95
"""Share of a time budget for training the bags; the rest is for combining them."""


def bagged(
    request: TrainingRequest,
    recipe: ExtractRecipe | FinetuneRecipe,
    bags: int,
    method: str = ensemble_methods.AVERAGE,
) -> TrainingResult:
    """Train a member on each of several bootstrap samples, and combine their predictions.

    The members are runs in RUN/bags, with the number of their bag in the recipe. All have the same validation and test
    set. Without a validation set, the metrics on val are out-of-bag: each image is predicted by the members that were
    not trained on it. They are slightly pessimistic, since fewer members predict. `extract` runs each image through the
    backbone once, for all bags.

    Parameters
    ----------
    request : TrainingRequest
        An unfinished run continues with the bag it was at; a complete run is returned as it is. The minimum accuracy is
        required of the ensemble; the time budget is divided among the bags.
    recipe : ExtractRecipe or FinetuneRecipe
        The recipe of each member, without its bag.
    bags : int
        From 2 to 50.
    method : str
        How the predictions are combined: a row of `catalog.ensemble_methods`. A fitted one needs a validation set,
        since each bag leaves out other training images.

    Raises
    ------
    InputError
        When the recipe trains no classifier, the number of bags is out of range, or the method cannot be used.
    RecipeError
        When the recipe already is that of a bag, or uses unlabelled images, or the time budget is too short.
    RunConflictError
        When the directory holds another run.
    TransferError
        As `extract` or `finetune`.

    References
    ----------
    L. Breiman (1996), "Bagging Predictors".
    L. Breiman (1996), "Out-of-bag estimation".
    D. H. Wolpert (1992), "Stacked Generalization" (stack).
    """
    check_type(request, TrainingRequest, "a TrainingRequest, or call extract(FOLDER, bags=10)")
    run = request.run
    _check_recipe(recipe, bags)
    if request.min_accuracy is not None:
        check_task(request.folder.task)
    combination = EnsembleRecipe(
        seed=recipe.seed,
        ensemble=EnsembleOptions(method=ensemble_methods.find(method).name),
        classes=Classes.of(request.folder.selection),
    )
    _check_free(request, combination, bags)
    budget = request.time_budget and float(int(TRAINING_SHARE * request.time_budget / bags))
    runs = [run.bag(number) for number in range(1, bags + 1)]
    # An overwritten run keeps its test images.
    earlier = [run.split, *(bag.split for bag in runs if request.overwrite)]
    split = request.split or next((Split.read(path) for path in earlier if path.is_file()), None)
    check_method(ensemble_methods.find(method), request.folder, recipe, split)

    @cache
    def claim() -> None:
        """Claim the run when the first bag starts to train, and remove an earlier run there."""
        # A run with results lacks only a bag, or a model that reaches the minimum accuracy: it is kept until replaced.
        if run.has_results(combination) and not request.overwrite:
            return
        run.claim(combination, request.folder.source, command=request.command, overwrite=request.overwrite)
        run.write_images(request.folder.images_elsewhere)
        write_tables(run, request.folder.selection)
        if request.overwrite:
            # Removed last: if the process is killed before, there is no model left without its bags.
            remove(run.bags)

    members = replace(request, split=split, min_accuracy=None, time_budget=budget, on_claim=claim)
    with run.releasing_lock():
        try:
            _train(members, recipe, runs)
        except RunConflictError as error:
            # Of a bag: the run that holds it is the one that was asked for.
            raise RunConflictError(run.path, error.differences) from error
        combined = EnsembleRequest(
            [bag.path for bag in runs],
            run,
            min_accuracy=request.min_accuracy,
            command=request.command,
            cache=request.cache,
            progress=request.progress,
        )
        return ensemble(combined, combination)


def _train(request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, runs: Sequence[RunDirectory]) -> None:
    """Train the bags one after the other."""
    progress, is_estimated = request.progress, False
    shared = SharedExtraction(next((run for run in runs if run.metrics.is_file() and not request.overwrite), None))
    for number, run in enumerate(runs, start=1):
        begun = time.monotonic()
        name = f"bag {number} of {len(runs)}"
        of_bag = recipe.model_copy(update={"bag": number})
        if isinstance(of_bag, ExtractRecipe):
            # Messages about the folder are shown for the first bag only.
            shown = progress if number == 1 else SILENT
            result = extract(replace(request, run=run, progress=shown), of_bag, shared)
        else:
            if not run.metrics.is_file():
                progress.note(f"{name}: {run.path}")
            started = request.begun if number == 1 else begun
            result = _finetune(replace(request, run=run, begun=started), of_bag, len(runs))
        if result.was_complete:
            continue
        val = headline(result.metrics.get("val", {}))
        note = f", {result.val_note}" if val and result.val_note else ""
        progress.note(f"{name}{val and f': val {val}'}{note}")
        if not is_estimated and (left := len(runs) - number):
            is_estimated = True
            progress.note(
                f"{counted(left, 'more bag')} to train: about {duration_text((time.monotonic() - begun) * left)}"
            )


def _finetune(request: TrainingRequest, recipe: FinetuneRecipe, bags: int) -> TrainingResult:
    try:
        return finetune(request, recipe)
    except RecipeError as error:
        if request.time_budget is None:
            raise
        raise RecipeError(
            f"The time budget leaves {format_duration(request.time_budget)} for each of {bags} bags. {error}",
            hint="Increase --time-budget, or reduce --bags.",
        ) from error


def _check_recipe(recipe: ExtractRecipe | FinetuneRecipe, bags: int) -> None:
    fewest, most = ensemble_methods.MIN_BAGS, ensemble_methods.MAX_BAGS
    if not fewest <= bags <= most:
        raise InputError(f"Expected {fewest} to {most} bags. Received: {bags}.")
    if recipe.bag is not None:
        raise RecipeError(
            f"The recipe is that of a single bag (bag = {recipe.bag}). Expected a recipe without the setting bag.",
            hint="Remove the setting bag from the recipe; or leave out --bags to train only this member.",
        )
    if isinstance(recipe, ExtractRecipe):
        if recipe.classifier.name == classifiers.NONE:
            raise InputError(
                "Bagging needs a classifier, and this run trains none (--classifier none).",
                hint="Leave out --bags, or choose a classifier: --classifier logistic",
            )
    elif recipe.unlabelled.folder is not None:
        raise RecipeError(
            "Bagging cannot be combined with unlabelled images: each bag would assign its own pseudo-labels.",
            hint="Leave out --bags or --unlabelled.",
        )


def _check_free(request: TrainingRequest, combination: EnsembleRecipe, bags: int) -> None:
    """Raise RunConflictError if the run cannot be written, before time is spent on its members."""
    run = request.run
    earlier = run.read_recipe() if run.recipe.is_file() else {}
    members = earlier.get("member") if earlier.get("method") == "ensemble" else None
    if request.overwrite or not members or not run.has_results(combination):
        source, command = request.folder.source, request.command
        run.check_free(combination, source, command=command, overwrite=request.overwrite)
        return
    check_same_method(run, earlier, combination)
    if len(members) != bags:
        raise RunConflictError(run.path, [f"--bags is {len(members)} there and {bags} here"])
    # Compared by digest, as the run may have been moved.
    runs = [run.bag(number) for number in range(1, bags + 1)]
    digests = [ModelBundle.read(bag.path)[0].digest if bag.model.is_dir() else None for bag in runs]
    if digests != [str(member.get("digest")) for member in members]:
        raise RunConflictError(run.path, [f"it is an ensemble whose members are not the bags in {run.bags}"])
