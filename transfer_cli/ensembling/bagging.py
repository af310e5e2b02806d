"""Bagging: train members on bootstrap samples of the training set, and average their predictions."""

from __future__ import annotations

import time
from dataclasses import replace

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import classifiers, ensemble_methods
from transfer_cli.data.split import Split
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import InputError, RecipeError, RunError
from transfer_cli.features.shared_extraction import SharedExtraction
from transfer_cli.io.atomic import remove
from transfer_cli.metrics.scores import Metrics
from transfer_cli.progress import SILENT
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.runs.accuracy_gate import AccuracyGate
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import duration_text, format_duration
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune

TRAINING_SHARE = 0.95
"""Share of a time budget for training the bags; the rest is for combining them."""


def bagged(request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, bags: int) -> TrainingResult:
    """Train a member on each of several bootstrap samples, and average their predictions.

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

    Raises
    ------
    InputError
        When the recipe trains no classifier, or the number of bags is out of range.
    RecipeError
        When the recipe already is that of a bag, or uses unlabelled images, or the time budget is too short.
    RunError
        When the directory holds another run.
    TransferError
        As `extract` or `finetune`.

    References
    ----------
    L. Breiman (1996), "Bagging Predictors".
    L. Breiman (1996), "Out-of-bag estimation".
    """
    run = request.run
    _check_recipe(recipe, bags)
    if request.min_accuracy is not None:
        AccuracyGate(request.min_accuracy).check_task(request.folder.task)
    average = EnsembleRecipe(seed=recipe.seed, ensemble=EnsembleOptions(method=ensemble_methods.AVERAGE))
    _check_free(request, average, bags)
    members = replace(
        request, split=_split_of(request, bags), min_accuracy=None, time_budget=_time_budget_of_bag(request, bags)
    )
    with run.releasing_lock():
        _Bags(members, recipe, bags, _EnsembleClaim(request, average)).train()
        combined = EnsembleRequest(
            [run.bag(number).path for number in range(1, bags + 1)],
            run,
            min_accuracy=request.min_accuracy,
            command=request.command,
            cache=request.cache,
            progress=request.progress,
        )
        return ensemble(combined, average)


class _EnsembleClaim:
    """Claims the run of the ensemble, and removes an earlier run there, when the first bag starts to train."""

    def __init__(self, request: TrainingRequest, recipe: EnsembleRecipe) -> None:
        self._request, self._recipe = request, recipe
        self._is_claimed = False

    def claim(self) -> None:
        """Lock the run and mark it as unfinished; the same command continues it."""
        run, request = self._request.run, self._request
        # A run with results lacks only a bag, or a model that reaches the minimum accuracy: it is kept until replaced.
        if self._is_claimed or (run.has_results(self._recipe) and not request.overwrite):
            return
        run.claim(self._recipe, request.folder.source, command=request.command, overwrite=request.overwrite)
        if request.overwrite:
            # Removed last: if the process is killed before, there is no model left without its bags.
            remove(run.bags)
        self._is_claimed = True


class _Bags:
    """Trains the members one after the other."""

    def __init__(
        self,
        request: TrainingRequest,
        recipe: ExtractRecipe | FinetuneRecipe,
        count: int,
        ensemble_claim: _EnsembleClaim,
    ) -> None:
        self._request, self._recipe, self._count, self._ensemble_claim = request, recipe, count, ensemble_claim
        runs = [] if request.overwrite else [request.run.bag(number) for number in range(1, count + 1)]
        self._shared = SharedExtraction(next((run for run in runs if run.metrics.is_file()), None))

    def train(self) -> None:
        is_estimated = False
        for number in range(1, self._count + 1):
            begun = time.monotonic()
            result = self._train_one(number)
            if result.was_complete:
                continue
            progress = self._request.progress
            progress.note(f"bag {number} of {self._count}{_accuracy(result.metrics, result.val_note)}")
            left = self._count - number
            if not is_estimated and left:
                is_estimated = True
                seconds = duration_text((time.monotonic() - begun) * left)
                progress.note(f"{left} more bags to train: about {seconds}")

    def _train_one(self, number: int) -> TrainingResult:
        member = self._request.run.bag(number)
        recipe = self._recipe.model_copy(update={"bag": number})
        # Messages about the folder are shown for the first bag only.
        first = self._shared.extracted is None and number == 1
        progress = self._request.progress if first else SILENT
        request = replace(self._request, run=member, progress=progress, on_claim=self._ensemble_claim.claim)
        if isinstance(recipe, ExtractRecipe):
            return extract(request, recipe, self._shared)
        begun = self._request.begun if number == 1 else time.monotonic()
        request = replace(request, progress=self._request.progress, begun=begun)
        if not member.metrics.is_file():
            request.progress.note(f"bag {number} of {self._count}: {member.path}")
        try:
            return finetune(request, recipe)
        except RecipeError as error:
            if request.time_budget is None:
                raise
            share = format_duration(request.time_budget)
            raise RecipeError(
                f"The time budget leaves {share} for each of {self._count} bags. {error}",
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


def _check_free(request: TrainingRequest, average: EnsembleRecipe, bags: int) -> None:
    """Raise RunError if the run cannot be written, before time is spent on its members."""
    run = request.run
    members = _members_of(run)
    if request.overwrite or not members or not run.has_results(average):
        run.check_free(average, request.folder.source, overwrite=request.overwrite)
        return
    hint = "Choose another folder with -o RUN, or replace the run with --overwrite."
    if len(members) != bags:
        raise RunError(f"{run.path} holds an ensemble of {len(members)} members. Received: {bags} bags.", hint=hint)
    # Compared by digest, as the run may have been moved.
    if members != [_digest_of(run.bag(number)) for number in range(1, bags + 1)]:
        raise RunError(f"{run.path} holds an ensemble whose members are not the bags in {run.bags}.", hint=hint)


def _members_of(run: RunDirectory) -> list[str] | None:
    """Return the digests of the members if a run holds an ensemble, else None."""
    if not run.recipe.is_file():
        return None
    recipe = run.read_recipe()
    members = recipe.get("member", []) if recipe.get("method") == "ensemble" else None
    return None if members is None else [str(member.get("digest")) for member in members]


def _digest_of(bag: RunDirectory) -> str | None:
    return ModelBundle.read(bag.path)[0].digest if bag.model.is_dir() else None


def _split_of(request: TrainingRequest, bags: int) -> Split | None:
    """Return the split of all bags; an overwritten run keeps its test images."""
    if request.split is not None:
        return request.split
    earlier = [request.run.bag(number).split for number in range(1, bags + 1)] if request.overwrite else []
    return next((Split.read(path) for path in (request.run.split, *earlier) if path.is_file()), None)


def _time_budget_of_bag(request: TrainingRequest, bags: int) -> float | None:
    return None if request.time_budget is None else float(int(TRAINING_SHARE * request.time_budget / bags))


def _accuracy(metrics: Metrics, note: str) -> str:
    val = metrics.get("val")
    if val is None or "accuracy" not in val:
        return ""
    return f": val accuracy {val['accuracy']['value']:.3f}" + (f", {note}" if note else "")
