"""The models that a folder may be given, side by side: ranked, trained, joined, and one of them taken by val."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from transfer_cli.audit import check as checking
from transfer_cli.auto.progress import AutoProgress
from transfer_cli.auto.selection import best_single, or_ensemble
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.backbones import IMAGENET
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.errors import RecipeError, WeightsError
from transfer_cli.metrics.intervals import plain
from transfer_cli.metrics.scores import headline
from transfer_cli.ranking.candidates import Candidate, Candidates
from transfer_cli.ranking.rank import rank
from transfer_cli.ranking.results import CandidateScore, RankingDirectory
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe
from transfer_cli.recipe.sections import Backbone
from transfer_cli.runs.request import Options, TrainingRequest, TrainingResult
from transfer_cli.text import counted
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.planning import time_budget
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.preflight import Survey

TRIED = 2
"""So many of the best backbones are trained."""
_OF_RANKING = 0.2
"""The share of the time after which no further backbone is ranked."""
_OF_END = 0.15
"""The share of the time that is kept for the ensemble, the test and the report."""
_OF_FIRST = 0.6
"""The share of what is left for fine-tuning that the best backbone gets, where there is a second one."""
_LEAST = 15.0
"""Seconds below which no fine-tuning is begun."""


class ModelSearch:
    """The steps of ``auto`` between the parts and the test; none of them is given a picture of test.

    Parameters
    ----------
    request : Request
    recipe : AutoRecipe
    found : Survey
        All pictures as they are parted.
    standing : Standing
        What an earlier command decided is not decided again.
    """

    def __init__(self, request: TrainingRequest, recipe: AutoRecipe, found: Survey, standing: AutoProgress) -> None:
        self._request, self._recipe, self._found, self._standing = request, recipe, found, standing
        self._run, self._progress = request.run, request.progress
        self._trained: dict[str, TrainingResult] = {}

    def winner(self) -> TrainingResult:
        """Return the model that is taken; which one that is, is kept before anybody asks it about test."""
        best = self._ranked()
        self._checked(best[0])
        self._train(best)
        name = self._chosen(best)
        self._standing.keep(winner=name, val_note=self._trained[name].val_note)
        return self._trained[name]

    @cached_property
    def _learnable(self) -> ImageFolder:
        """The folder without its pictures of test."""
        found = self._found
        kept = [index for index, row in zip(found.indices, found.split.rows, strict=True) if row.part != "test"]
        return replace(self._request.folder, files=tuple(self._request.folder.files[index] for index in sorted(kept)))

    def _ranked(self) -> tuple[Candidate, ...]:
        if known := self._standing.state.ranked:
            # With more time others might be ranked, and what has been trained be for nothing.
            self._standing.note(2, f"ranked by an earlier command: {', '.join(each.name for each in known)}")
            return known
        best = self._best()
        self._standing.keep(ranked=best)
        return best

    def _best(self) -> tuple[Candidate, ...]:
        among = self._recipe.among
        ready = Candidates.among(among, (), download=self._recipe.download).ready
        if self._recipe.download or any(each.weights == IMAGENET for each in ready):
            # No others come near them.
            return self._ranking(among, (IMAGENET,))
        usual = Backbone().name
        if not among and not self._request.offline:
            self._progress.note(f"no weights of ImageNet are here: those of {usual} are brought")
            try:
                return self._ranking((usual,), (IMAGENET,), download=True)
            except WeightsError as error:
                self._progress.warn(f"{error} What comes with the program has to do, and is far less accurate")
        return self._ranking(among, ())

    def _ranking(
        self, among: Sequence[str], weights: Sequence[str], *, download: bool = False
    ) -> tuple[Candidate, ...]:
        request = self._request
        ranking = rank(
            self._learnable,
            RankingDirectory(self._run.steps / "rank"),
            among=among,
            weights=weights,
            download=download or self._recipe.download,
            seconds=max(0.0, _OF_RANKING * self._recipe.seconds - self._standing.before),
            split=self._found.split,
            group_by=self._recipe.group_by,
            seed=self._recipe.seed,
            offline=request.offline,
            strict=request.strict,
            cache=request.cache,
            progress=request.progress,
        )
        best = tuple(row.candidate for row in ranking.eligible[:TRIED])
        self._run.log("rank", best=[each.name for each in best], candidates=len(ranking.rows))
        shown = ", ".join(_in_words(row) for row in ranking.eligible[:5])
        self._standing.note(2, f"{counted(len(ranking.eligible), 'backbone')} ranked by cross-validation: {shown}")
        return best

    def _checked(self, candidate: Candidate) -> None:
        """Say what is wrong with the pictures, as far as the best backbone sees it; those of test are left alone."""
        place = self._run.steps / "check"
        if (place / "check.json").is_file():
            self._standing.note(3, f"checked by an earlier command: {place}")
            return
        request = replace(self._request.silent(), folder=self._learnable, split=self._found.split)
        recipe = lifecycle.resolved(request, words_of(self._recipe, ExtractRecipe, candidate.words), keeps_model=True)
        with self._progress.track("checking the pictures", None):
            findings = checking.check(request, recipe)
        place.mkdir(exist_ok=True)
        findings.write(place)
        self._run.log("check", duplicates=findings.to_dict()["duplicates"], unreadable=len(findings.skipped))
        self._standing.note(3, "; ".join(checking.summary(findings)))

    def _train(self, best: Sequence[Candidate]) -> None:
        for candidate in best:
            self._step(f"extract-{candidate.backbone}", candidate, extract, ExtractRecipe, None)
        if "val" not in self._found.split.counts():
            self._standing.note(4, "no fine-tuning: no picture can be held out of train to say when to stop")
            return
        for number, candidate in enumerate(best):
            left = self._left()
            seconds = left if number or len(best) == 1 else _OF_FIRST * left
            name = f"finetune-{candidate.backbone}"
            if seconds < _LEAST and not self._standing.step_run(name).metrics.is_file():
                self._standing.note(4, f"{name}: no time is left for it")
                continue
            self._step(name, candidate, finetune, FinetuneRecipe, seconds)

    def _left(self) -> float:
        """Return the seconds that are left for training."""
        return self._recipe.seconds * (1 - _OF_END) - self._standing.spent()

    def _step(self, name: str, candidate: Candidate, method: Any, kind: Any, seconds: float | None) -> None:
        request = self._request
        # The shares that decided the parts, which are followed here: of what is left when test is put aside, none is
        # taken for test, but whoever repeats the recipe with the whole folder puts the same pictures aside.
        shares = words_of(self._recipe, FinetuneRecipe, {}).split
        words: dict[str, Any] = {**candidate.words, "split.test": shares.test, "split.val": shares.val}
        run = self._standing.step_run(name)
        options: Options = {
            "split": self._found.split,
            "offline": request.offline,
            "strict": request.strict,
            "command": request.command,
            "cache": request.cache,
            "progress": request.silent().progress,
        }
        if seconds is not None:
            # One that was begun goes on as it was planned.
            options |= {"time_budget": time_budget.planned_for(run) or seconds, "begun": time.monotonic()}
        try:
            with self._progress.track(name, None):
                result = method(self._learnable, words_of(self._recipe, kind, words), run, **options)
        except RecipeError as error:
            if seconds is None:
                raise
            self._standing.note(4, f"{name}: {error}")
            return
        self._trained[name] = result
        figures = result.metrics.get("val", {})
        said = headline(figures)
        self._run.log("train", run=name, val=figures)
        self._standing.keep()
        self._standing.note(4, f"{name}{said and f': val {said}'}, {self._standing.spent():.0f} s")

    def _chosen(self, best: Sequence[Candidate]) -> str:
        """Return the name of the model to take, by val alone."""
        split = self._found.split
        if any("val" not in Split.read(result.run.split).counts() for result in self._trained.values()):
            # None could be held out, or what was cannot be read.
            winner = f"extract-{best[0].backbone}"
            said = headline(self._trained[winner].metrics.get("val", {}))
            why = "there is no picture of val to compare by" + (
                ", and none of train can be spared" if "val" not in split.counts() else " that can be read"
            )
            self._run.log("choice", single=winner, losses={}, ensemble=None, takes_ensemble=False)
            known = said and f" ({said} out of fold)"
            self._standing.note(5, f"{winner} is taken, the best of the ranking{known}: {why}")
            return winner
        runs = {name: result.run for name, result in self._trained.items()}
        choice = best_single(runs)
        joined = self._joined()
        if joined is not None:
            choice = or_ensemble(choice, runs[choice.single], joined.run, seed=self._recipe.seed)
            self._trained["ensemble"] = joined
        self._run.log(
            "choice",
            single=choice.single,
            losses=choice.losses,
            ensemble=choice.gain,
            takes_ensemble=choice.takes_ensemble,
        )
        self._standing.note(5, choice.summary())
        return "ensemble" if choice.takes_ensemble else choice.single

    def _joined(self) -> TrainingResult | None:
        if len(self._trained) < 2:
            return None
        recipe = EnsembleRecipe(seed=self._recipe.seed, ensemble=EnsembleOptions(method=ensemble_methods.GREEDY))
        place = self._standing.step_run("ensemble")
        runs = [result.run.path for result in self._trained.values()]
        # Made anew where a member was: it takes no picture and a second.
        return ensemble(
            runs,
            recipe,
            place,
            overwrite=place.recipe.is_file(),
            command=self._request.command,
            cache=self._request.cache,
            progress=self._request.silent().progress,
        )


def words_of(request: AutoRecipe, kind: Any, words: dict[str, Any]) -> Any:
    """Return a recipe of a kind that follows what was asked of ``auto``."""
    shared = {"seed": request.seed, "split.seed": request.seed, "split.group_by": request.group_by}
    return kind.load(None, [], {**shared, **words})


def _in_words(row: CandidateScore) -> str:
    """Return a row of the ranking with the figure that it is known by."""
    named = {"mean_average_precision": row.mean_average_precision, "accuracy": row.accuracy and row.accuracy["value"]}
    said = headline({name: plain(value) for name, value in named.items() if value is not None})
    return f"{row.name} {said}".rstrip()
