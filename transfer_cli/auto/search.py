"""Search for the best model: rank backbones, train the best ones, combine them, and select one model on val."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from transfer_cli.audit import check as checking
from transfer_cli.auto.selection import Choice, choose
from transfer_cli.auto.state import AutoProgress
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.backbones import IMAGENET
from transfer_cli.data.split import Split
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import RecipeError, WeightsError
from transfer_cli.metrics.intervals import exact_value
from transfer_cli.metrics.scores import headline
from transfer_cli.ranking.candidates import Candidate, Candidates
from transfer_cli.ranking.options import RankOptions
from transfer_cli.ranking.rank import rank
from transfer_cli.ranking.results import CandidateScore
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.recipe.sections import Backbone
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.text import counted
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.planning import time_budget
from transfer_cli.training.setup.preflight import Survey
from transfer_cli.training.setup.resolve import resolve_recipe

TRAINED_BACKBONES = 2
"""How many of the best backbones are trained."""
_RANKING_SHARE = 0.2
"""Share of the time after which no further backbone is ranked."""
_FINAL_SHARE = 0.15
"""Share of the time that is reserved for the ensemble, the test and the report."""
_FIRST_SHARE = 0.6
"""Share of the remaining time for fine-tuning the best backbone, if there is a second one."""
_MIN_SECONDS = 15.0
"""Minimum time for fine-tuning."""


class ModelSearch:
    """The steps of `auto` between the split and the final test; none of them uses test images.

    Parameters
    ----------
    request : TrainingRequest
    recipe : AutoRecipe
    survey : Survey
        The split of all images.
    status : AutoProgress
        Decisions of an earlier command are kept.
    """

    def __init__(self, request: TrainingRequest, recipe: AutoRecipe, survey: Survey, status: AutoProgress) -> None:
        self._request, self._recipe, self._survey, self._status = request, recipe, survey, status
        self._run, self._progress = request.run, request.progress
        self._trained: dict[str, TrainingResult] = {}

    def run(self) -> TrainingResult:
        """Return the selected model; the decision is saved before test is used."""
        best = self._rank()
        self._check_images(best[0])
        self._train(best)
        name = self._select(best)
        self._status.save(winner=name, val_note=self._trained[name].val_note)
        return self._trained[name]

    @cached_property
    def _without_test(self) -> TrainingRequest:
        """The request without the test images."""
        folder, split = self._request.folder, self._survey.split
        rows = zip(self._survey.indices, split.rows, strict=True)
        indices = sorted(index for index, row in rows if row.part != "test")
        files = tuple(folder.files[index] for index in indices)
        return replace(self._request, folder=replace(folder, files=files), split=split)

    def _request_of(self, step: str) -> TrainingRequest:
        run = self._status.step_run(step)
        return replace(self._without_test, run=run, overwrite=False, min_accuracy=None)

    def _rank(self) -> tuple[Candidate, ...]:
        if known := self._status.state.ranked:
            # Not ranked again: with more time other backbones could win, and finished trainings would be lost.
            self._status.note(2, f"ranked by an earlier command: {', '.join(each.name for each in known)}")
            return known
        best = self._best()
        self._status.save(ranked=best)
        return best

    def _best(self) -> tuple[Candidate, ...]:
        among, download = self._recipe.among, self._recipe.download
        available = Candidates.select(among, (), download=download, offline=self._request.offline).available
        if download or any(each.weights == IMAGENET for each in available):
            # ImageNet weights are far better than all others.
            return self._rank_candidates(among, (IMAGENET,), download=download)
        default = Backbone().name
        if not among and not self._request.offline:
            self._progress.note(f"no ImageNet weights are installed: downloading those of {default}")
            try:
                return self._rank_candidates((default,), (IMAGENET,), download=True)
            except WeightsError as error:
                self._progress.warn(f"{error} Using the small embedded network, which is far less accurate")
        return self._rank_candidates(among, (), download=download)

    def _rank_candidates(
        self, among: Sequence[str], weights: Sequence[str], *, download: bool
    ) -> tuple[Candidate, ...]:
        recipe = self._recipe
        options = RankOptions(
            among,
            weights,
            download=download,
            group_by=recipe.group_by,
            bit_depth=recipe.bit_depth,
            seed=recipe.seed,
        )
        budget = max(0.0, _RANKING_SHARE * recipe.seconds - self._status.seconds_before)
        ranking = rank(replace(self._request_of("rank"), time_budget=budget), options)
        best = tuple(row.candidate for row in ranking.eligible[:TRAINED_BACKBONES])
        self._run.log("rank", best=[each.name for each in best], candidates=len(ranking.rows))
        shown = ", ".join(_score_text(row) for row in ranking.eligible[:5])
        self._status.note(2, f"{counted(len(ranking.eligible), 'backbone')} ranked by cross-validation: {shown}")
        return best

    def _check_images(self, candidate: Candidate) -> None:
        """Check the images outside test as `data check` does, by the features of the best backbone."""
        place = self._status.step_run("check").path
        if (place / "check.json").is_file():
            self._status.note(3, f"images were checked by an earlier command: {place}")
            return
        request = self._without_test.steps_only()
        recipe = resolve_recipe(request, recipe_of(self._recipe, ExtractRecipe, candidate.overrides), keeps_model=True)
        with self._progress.track("checking the images", None):
            findings = checking.check(request, recipe)
        place.mkdir(exist_ok=True)
        findings.write(place)
        self._run.log("check", duplicates=findings.to_dict()["duplicates"], unreadable=len(findings.skipped))
        self._status.note(3, "; ".join(findings.summary()))

    def _train(self, best: Sequence[Candidate]) -> None:
        for candidate in best:
            self._train_step(f"extract-{candidate.backbone}", candidate, extract, ExtractRecipe, None)
        if "val" not in self._survey.split.counts():
            self._status.note(4, "no fine-tuning: no training image can be held out as a validation set")
            return
        networks = trainable(best)
        for number, candidate in enumerate(networks):
            left = self._recipe.seconds * (1 - _FINAL_SHARE) - self._status.seconds_spent()
            seconds = left if number or len(networks) == 1 else _FIRST_SHARE * left
            name = f"finetune-{candidate.backbone}"
            if seconds < _MIN_SECONDS and not self._status.step_run(name).metrics.is_file():
                self._status.note(4, f"{name}: skipped, no time left")
                continue
            self._train_step(name, candidate, finetune, FinetuneRecipe, seconds)

    def _train_step(self, name: str, candidate: Candidate, method: Any, kind: Any, seconds: float | None) -> None:
        # These shares made the split. The folder has no test images here, but repeating the recipe on the whole folder
        # must hold out the same test images.
        shares = recipe_of(self._recipe, FinetuneRecipe, {}).split
        overrides: dict[str, Any] = {**candidate.overrides, "split.test": shares.test, "split.val": shares.val}
        request = self._request_of(name).steps_only()
        if seconds is not None:
            # An interrupted training continues with the budget that it was planned for.
            budget = time_budget.planned_budget(request.run) or seconds
            request = replace(request, time_budget=budget, begun=time.monotonic())
        try:
            with self._progress.track(name, None):
                result = method(request, recipe_of(self._recipe, kind, overrides))
        except RecipeError as error:
            if seconds is None:
                raise
            self._status.note(4, f"{name}: {error}")
            return
        self._trained[name] = result
        metrics = result.metrics.get("val", {})
        value = headline(metrics)
        self._run.log("train", run=name, val=metrics)
        self._status.save()
        self._status.note(4, f"{name}{value and f': val {value}'}; {self._status.seconds_spent():.0f} s so far")

    def _select(self, best: Sequence[Candidate]) -> str:
        """Return the name of the best model on val; the best of the ranking if val could not be held out or read."""
        if any("val" not in Split.read(result.run.split).counts() for result in self._trained.values()):
            choice = Choice(f"extract-{best[0].backbone}", {}, 0)
            value = headline(self._trained[choice.single].metrics.get("val", {}))
            score = value and f" (out-of-fold {value})"
            is_held_out = "val" in self._survey.split.counts()
            reason = (
                "validation image can be read" if is_held_out else "training image can be held out as validation set"
            )
            text = f"selected {choice.single}, the best of the ranking{score}: no {reason}"
        else:
            runs = {name: result.run for name, result in self._trained.items()}
            if len(runs) > 1:
                self._trained["ensemble"] = self._combine()
            combined = self._trained.get("ensemble")
            choice = choose(runs, combined.run if combined else None, seed=self._recipe.seed)
            text = choice.summary()
        facts = {"losses": choice.losses, "ensemble": choice.gain, "uses_ensemble": choice.uses_ensemble}
        self._run.log("choice", single=choice.single, **facts)
        self._status.note(5, text)
        return "ensemble" if choice.uses_ensemble else choice.single

    def _combine(self) -> TrainingResult:
        recipe = EnsembleRecipe(seed=self._recipe.seed, ensemble=EnsembleOptions(method=ensemble_methods.GREEDY))
        run = self._status.step_run("ensemble")
        request = EnsembleRequest(
            [result.run.path for result in self._trained.values()],
            run,
            # Always combined again, as a member may be new: it reads no images and takes a second.
            overwrite=run.recipe.is_file(),
            command=self._request.command,
            cache=self._request.cache,
            progress=self._request.steps_only().progress,
        )
        return ensemble(request, recipe)


def recipe_of(recipe: AutoRecipe, kind: Any, overrides: dict[str, Any]) -> Any:
    """Return a recipe of a kind with the seed, groups and bit depth of an `auto` recipe, and other settings."""
    shared = {"seed": recipe.seed, "split.seed": recipe.seed, "split.group_by": recipe.group_by}
    return kind.load(None, [], {**shared, "images.bit_depth": recipe.bit_depth, **overrides})


def _score_text(row: CandidateScore) -> str:
    """Return the name of a candidate and its main metric."""
    named = {"mean_average_precision": row.mean_average_precision, "accuracy": row.accuracy and row.accuracy["value"]}
    value = headline({name: exact_value(number) for name, number in named.items() if number is not None})
    return f"{row.name} {value}".rstrip()


def trainable(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that can be fine-tuned: features without learning have nothing to train."""
    return [candidate for candidate in candidates if not candidate.spec.is_handcrafted]
