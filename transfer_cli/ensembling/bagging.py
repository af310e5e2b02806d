"""Bagging: members that learn from bootstrap samples of the train part, joined by the mean of their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import classifiers, ensemble_methods
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.errors import InputError, RecipeError, RunError
from transfer_cli.features.shared_extraction import SharedExtraction
from transfer_cli.io.atomic import remove
from transfer_cli.metrics.scores import Metrics
from transfer_cli.progress import SILENT
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.runs.accuracy_gate import Gate
from transfer_cli.runs.request import Options, TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory, Written
from transfer_cli.text import seconds_in_words
from transfer_cli.training import extract, finetune
from transfer_cli.training.planning.time_budget import summary

SHARE = 0.95
"""So much of a time budget is dealt out to the bags; the rest is for joining them."""


def bagged(
    folder: ImageFolder,
    recipe: ExtractRecipe | FinetuneRecipe,
    run: RunDirectory,
    bags: int,
    **options: Unpack[Options],
) -> TrainingResult:
    """Train a member on each of some bootstrap samples, and join them (Breiman 1996, "Bagging Predictors").

    Members are runs of their own in RUN/bags, whose recipes say their bag. All hold out the same val and test parts.
    Where there is no val part, the figures of val are out-of-bag: of a picture those members are asked that have not
    learnt from it (Breiman 1996, "Out-of-bag estimation"). They are a little low, since so fewer members answer. Of
    `extract` each picture goes through the network once, for all bags.

    Parameters
    ----------
    folder : ImageFolder
    recipe : ExtractRecipe or FinetuneRecipe
        Of each member, but for the bag.
    run : RunDirectory
        Where the ensemble is written. The same call goes on with the bag it was at; a complete run is returned as it
        is.
    bags : int
        From 2 to 50.
    **options
        See training.Options. The accuracy asked for is that of all together; a time budget is dealt out to the bags.

    Raises
    ------
    InputError
        When there is no classifier to be bagged, or so many bags are not made.
    RecipeError
        When the recipe is one of a bag already, or learns from unlabelled pictures, or a bag's share of a time budget
        is too little.
    RunError
        When the directory holds another run.
    TransferError
        As extract or finetune.
    """
    request = TrainingRequest(folder, run, **options)
    _must_fit(recipe, bags)
    if request.min_accuracy is not None:
        Gate(request.min_accuracy).must_fit(folder.task)
    joining = EnsembleRecipe(seed=recipe.seed, ensemble=EnsembleOptions(method=ensemble_methods.AVERAGE))
    _must_be_free(request, joining, bags)
    of_all = replace(request, split=_split_of(request, bags), min_accuracy=None, time_budget=_share_of(request, bags))
    with run.released():
        _Bags(of_all, recipe, bags, _Whole(request, joining)).train()
        return ensemble(
            [run.bag(number).path for number in range(1, bags + 1)],
            joining,
            run,
            min_accuracy=request.min_accuracy,
            command=request.command,
            cache=request.cache,
            progress=request.progress,
        )


class _Whole:
    """The run that bags are trained for; it is claimed, and what was there before given up, when the first begins."""

    def __init__(self, request: TrainingRequest, recipe: EnsembleRecipe) -> None:
        self._request, self._recipe = request, recipe
        self._is_claimed = False

    def claim(self) -> None:
        """Let no other process write it. From here on it is unfinished, and the same command goes on with it."""
        run, request = self._request.run, self._request
        # What has a result is whole but for a bag, or for a model below the bar: it stays until there is another.
        if self._is_claimed or (run.has_results(self._recipe) and not request.overwrite):
            return
        run.begin(self._recipe, request.folder.source, command=request.command, overwrite=request.overwrite)
        if request.overwrite:
            # Last: what is killed before has no model that would answer for bags that are gone.
            remove(run.bags)
        self._is_claimed = True


@dataclass(frozen=True)
class _Bag(RunDirectory):
    """The run of one bag, which claims the whole before it is written itself."""

    whole: _Whole

    def begin(self, recipe: Written, folder: Path, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Claim the whole, then this one."""
        self.whole.claim()
        super().begin(recipe, folder, command=command, overwrite=overwrite)


class _Bags:
    """The members, trained one after the other."""

    def __init__(
        self, request: TrainingRequest, recipe: ExtractRecipe | FinetuneRecipe, count: int, whole: _Whole
    ) -> None:
        self._request, self._recipe, self._count, self._whole = request, recipe, count, whole
        runs = [] if request.overwrite else [request.run.bag(number) for number in range(1, count + 1)]
        self._shared = SharedExtraction(next((run for run in runs if run.metrics.is_file()), None))

    def train(self) -> None:
        said = False
        for number in range(1, self._count + 1):
            begun = time.monotonic()
            result = self._train_one(number)
            if result.was_complete:
                continue
            progress = self._request.progress
            progress.note(f"bag {number} of {self._count}{_accuracy(result.metrics, result.val_note)}")
            left = self._count - number
            if not said and left:
                said = True
                seconds = seconds_in_words((time.monotonic() - begun) * left)
                progress.note(f"{left} more bags: about {seconds} if each takes as long")

    def _train_one(self, number: int) -> TrainingResult:
        member = _Bag(self._request.run.bag(number).path, self._whole)
        recipe = self._recipe.model_copy(update={"bag": number})
        # What there is to say of the folder is said once.
        first = self._shared.seen is None and number == 1
        request = replace(self._request, run=member, progress=self._request.progress if first else SILENT)
        if isinstance(recipe, ExtractRecipe):
            return extract.learn(request, recipe, self._shared)
        begun = self._request.begun if number == 1 else time.monotonic()
        request = replace(request, progress=self._request.progress, begun=begun)
        if not member.metrics.is_file():
            request.progress.note(f"bag {number} of {self._count}: {member.path}")
        try:
            return finetune.learn(request, recipe)
        except RecipeError as error:
            if request.time_budget is None:
                raise
            share = summary(request.time_budget)
            raise RecipeError(
                f"Each of {self._count} bags has {share} of the time budget. {error}",
                hint="Give the budget as many times the time of one bag as there are bags, or take fewer of them.",
            ) from error


def _must_fit(recipe: ExtractRecipe | FinetuneRecipe, bags: int) -> None:
    fewest, most = ensemble_methods.FEWEST_BAGS, ensemble_methods.MOST_BAGS
    if not fewest <= bags <= most:
        raise InputError(f"Expected {fewest} to {most} bags. Received: {bags}.")
    if recipe.bag is not None:
        raise RecipeError(
            f"The recipe is of one bag already (bag = {recipe.bag}). Expected one for all bags.",
            hint="Take the word bag out of it; or leave out --bags to make that one member.",
        )
    if isinstance(recipe, ExtractRecipe):
        if recipe.classifier.name == classifiers.NONE:
            raise InputError("Bags are for a classifier, and this run makes none. Leave out --bags, or choose one.")
    elif recipe.unlabelled.folder is not None:
        raise RecipeError(
            "Bags and unlabelled pictures do not go together: each bag would give these pictures labels of its own.",
            hint="Leave out one of --bags and --unlabelled.",
        )


def _must_be_free(request: TrainingRequest, joining: EnsembleRecipe, bags: int) -> None:
    """Raise RunError unless the run may be written, before hours are spent on members for it."""
    run = request.run
    members = _members_of(run)
    if request.overwrite or not members or not run.has_results(joining):
        run.must_be_free(joining, request.folder.source, overwrite=request.overwrite)
        return
    hint = "Choose another place with -o RUN, or --overwrite to replace it."
    if len(members) != bags:
        raise RunError(f"{run.path} holds an ensemble of {len(members)} members. Received: {bags} bags.", hint=hint)
    # By what they are, not by where: the whole may have been moved.
    if members != [_digest_of(run.bag(number)) for number in range(1, bags + 1)]:
        raise RunError(f"{run.path} holds an ensemble of other members than the bags in {run.bags}.", hint=hint)


def _members_of(run: RunDirectory) -> list[str] | None:
    """Return the digests of the members of an ensemble that a run holds; None where it holds none."""
    if not run.recipe.is_file():
        return None
    recipe = run.read_recipe()
    members = recipe.get("member", []) if recipe.get("method") == "ensemble" else None
    return None if members is None else [str(member.get("digest")) for member in members]


def _digest_of(bag: RunDirectory) -> str | None:
    return ModelBundle.read(bag.path)[0].digest if bag.model.is_dir() else None


def _split_of(request: TrainingRequest, bags: int) -> Split | None:
    """Return the split that all bags follow; what is made anew has the test pictures that its bags had."""
    if request.split is not None:
        return request.split
    earlier = [request.run.bag(number).split for number in range(1, bags + 1)] if request.overwrite else []
    return next((Split.read(path) for path in (request.run.split, *earlier) if path.is_file()), None)


def _share_of(request: TrainingRequest, bags: int) -> float | None:
    return None if request.time_budget is None else float(int(SHARE * request.time_budget / bags))


def _accuracy(metrics: Metrics, note: str) -> str:
    figures = metrics.get("val")
    if figures is None or "accuracy" not in figures:
        return ""
    return f": val accuracy {figures['accuracy']['value']:.3f}" + (f", {note}" if note else "")
