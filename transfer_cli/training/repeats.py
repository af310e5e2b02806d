"""Repeats of a training: one recipe with several seeds and splits, to see how far the scores lie apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TypeVar

from transfer_cli.arguments import check_type
from transfer_cli.catalog import classifiers
from transfer_cli.errors import InputError, OptionError, RunConflictError
from transfer_cli.metrics.scores import headline
from transfer_cli.metrics.spread import MAX_REPEATS, MIN_REPEATS
from transfer_cli.progress import WithoutNotes
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe, Recipe
from transfer_cli.runs.accuracy_gate import FLAG
from transfer_cli.runs.repeats_directory import RepeatsDirectory, RepeatsPlan
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.text import counted, duration_text
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.repeat_results import Repeats

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
_SEEDS = 2**32


def repeated(request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, repeats: int) -> Repeats:
    """Train with the seeds s, s + 1, ..., where s is that of the recipe, and return all results.

    Each repeat is a run of its own in the folder, with its seed in `seed` and `split.seed`, as the same recipe alone
    would train it. Where the folder or the table of images decides the parts these stay, and the seed decides what is
    left to chance. repeats.json holds mean, standard deviation and range of the scores.

    Parameters
    ----------
    request : TrainingRequest
        Its run is the folder of the runs. Complete runs are not trained again, an unfinished one is continued, and more
        repeats are added to those that are there.
    recipe : ExtractRecipe or FinetuneRecipe
        The recipe of the first repeat.
    repeats : int
        From 2 to 50.

    Raises
    ------
    InputError
        If the number of repeats is out of range.
    OptionError
        If an option makes no sense with repeats: no classifier, a minimum accuracy, a time budget, another seed of the
        split than of the rest, or a split that leaves nothing to vary.
    RunConflictError
        If the folder holds repeats of another training, or something else.
    TransferError
        As `extract` or `finetune`.
    """
    check_type(request, TrainingRequest, "a TrainingRequest, or call extract(FOLDER, repeats=5)")
    _check_recipe(recipe, repeats)
    _check_request(request)
    directory = RepeatsDirectory(request.run.path)
    plan = RepeatsPlan.of(request.folder.source, _with_seed(recipe, recipe.seed), repeats)
    directory.check_free(plan, command=request.command, overwrite=request.overwrite)
    seeds = range(recipe.seed, recipe.seed + repeats)

    @cache
    def claim() -> None:
        """Claim the folder when the first run starts to train, so that an error before leaves nothing."""
        directory.claim(plan, command=request.command, overwrite=request.overwrite)

    with directory.releasing_lock():
        results = _train_all(request, recipe, directory, seeds, claim)
        done = Repeats.of(directory, seeds, results)
        directory.complete(plan, done.to_dict())
    return done


def _train_all(
    request: TrainingRequest,
    recipe: ExtractRecipe | FinetuneRecipe,
    directory: RepeatsDirectory,
    seeds: Sequence[int],
    claim: Callable[[], None],
) -> list[TrainingResult]:
    """Train the repeats one after the other; `claim` is called before the first of them writes anything."""
    progress, results = request.progress, list[TrainingResult]()
    for number, seed in enumerate(seeds, start=1):
        name, begun, run = f"repeat {number} of {len(seeds)}", time.monotonic(), directory.run(seed)
        overwrite = request.overwrite or directory.is_outdated(seed)
        if overwrite or not run.metrics.is_file():
            progress.note(f"{name}: {run.path}")
        # Notes about the folder are the same for all; warnings may be about the split.
        shown = progress if number == 1 or isinstance(recipe, FinetuneRecipe) else WithoutNotes(progress)
        begin = partial(_begin, directory, seed, claim)
        own = replace(request, run=run, overwrite=overwrite, progress=shown, on_claim=begin)
        results.append(_train(own, _with_seed(recipe, seed), directory))
        if results[-1].was_complete:
            continue
        progress.note(f"{name}: {_scores(results[-1])}")
        is_first = sum(not result.was_complete for result in results) == 1
        if is_first and (left := len(seeds) - number):
            seconds = (time.monotonic() - begun) * left
            progress.note(f"{counted(left, 'more repeat')} to train: about {duration_text(seconds)}")
    return results


def _begin(directory: RepeatsDirectory, seed: int, claim: Callable[[], None]) -> None:
    claim()
    directory.begin_run(seed)


def _train(
    request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, directory: RepeatsDirectory
) -> TrainingResult:
    try:
        return extract(request, recipe) if isinstance(recipe, ExtractRecipe) else finetune(request, recipe)
    except RunConflictError as error:
        # Of one run: the folder that holds it is the one that was asked for.
        raise directory.conflict(error.differences) from error


def _with_seed(recipe: AnyRecipe, seed: int) -> AnyRecipe:
    return recipe.model_copy(update={"seed": seed}).with_settings("split", seed=seed)


def _scores(result: TrainingResult) -> str:
    return ", ".join(f"{part} {text}" for part, metrics in result.metrics.items() if (text := headline(metrics)))


def _check_recipe(recipe: ExtractRecipe | FinetuneRecipe, repeats: int) -> None:
    if not MIN_REPEATS <= repeats <= MAX_REPEATS:
        raise InputError(f"Expected {MIN_REPEATS} to {MAX_REPEATS} repeats. Received: {repeats}.")
    if isinstance(recipe, ExtractRecipe) and recipe.classifier.name == classifiers.NONE:
        raise OptionError(
            "--repeats needs a classifier, whose scores vary. Received: --classifier none (features only).",
            hint="Leave out --repeats, or choose a classifier: --classifier logistic",
        )
    if recipe.split.seed not in (0, recipe.seed):
        raise OptionError(
            "--repeats uses one number as seed and split.seed. "
            f"Received: seed = {recipe.seed} and split.seed = {recipe.split.seed}.",
            hint="Leave out split.seed, and choose the seed of the first repeat: --seed N",
        )
    if recipe.seed + repeats > _SEEDS:
        raise InputError(f"Expected seeds below 2^32. Received: {repeats} repeats from the seed {recipe.seed}.")


def _check_request(request: TrainingRequest) -> None:
    if request.min_accuracy is not None:
        raise OptionError(
            f"{FLAG} is a limit for one model, and --repeats trains several.",
            hint=f"Leave out {FLAG}, and look at the mean and the range of the accuracy.",
        )
    if request.time_budget is not None:
        raise OptionError(
            "--repeats cannot be combined with --time-budget: runs with other epochs are no repeats.",
            hint="Leave out --time-budget, and set the epochs: --epochs N",
        )
    if request.split is not None and {file.path for file in request.folder.files} <= {
        row.path for row in request.split.rows
    }:
        raise OptionError(
            "--split gives the part of every image, so that all repeats would have the same training and test images.",
            hint="Leave out --split; or leave out --repeats, and train on this split with one --seed after the other.",
        )
