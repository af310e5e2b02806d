"""Rank backbones: cross-validated score of a classifier on their features, beside their cost on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from transfer_cli.errors import WeightsError
from transfer_cli.ranking.candidate_score import CandidateEvaluation
from transfer_cli.ranking.candidates import Candidates
from transfer_cli.ranking.options import RankOptions
from transfer_cli.ranking.plot import plot_pareto
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.ranking.results import CandidateScore, Ranking
from transfer_cli.ranking.sample import ranking_sample
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted
from transfer_cli.training.setup.claim import report_folder, sample_warnings_of
from transfer_cli.training.setup.resolve import resolve_recipe


def rank(request: TrainingRequest, options: RankOptions | None = None) -> Ranking:
    """Recommend a backbone to start from.

    The default classifier of `extract`, a logistic regression with tuned regularisation, is cross-validated on the
    features of each backbone; images of one group are in the same fold. Test images are not used: the split is the one
    that `extract` and `finetune` would make. The features are cached, and `extract` finds them there.

    The best candidate has the lowest out-of-fold log loss, which varies less than accuracy and exists for multi-label
    tasks. `Ranking.within_noise` lists the candidates whose accuracy is not significantly lower, so that a smaller one
    can be used. The score of the best of many candidates is slightly optimistic.

    Each result is written at once: an interrupted ranking continues where it stopped.

    Parameters
    ----------
    request : TrainingRequest
        `run` is the folder to write (see `RankingDirectory`). `time_budget` is the number of seconds after which no
        further candidate is started; the cheapest candidates come first, and at least one is tried.
    options : RankOptions, optional

    Raises
    ------
    WeightsError
        When the weights of a backbone given by name, or of all backbones, are not available.
    UnknownNameError
        When a name or pattern matches no backbone.
    FolderError
        When there are too few images.
    RunConflictError
        When the folder to write holds another ranking, or something else.
    OutputError
        When it cannot be written.
    """
    options = options or RankOptions()
    begun = time.monotonic()
    folder, progress = request.folder, request.progress
    candidates = Candidates.select(options.among, options.weights, download=options.download, offline=request.offline)
    place = RankingDirectory(request.run.path)
    place.check_free(folder.source)
    report_folder(request)
    overrides = options.overrides | candidates.available[0].overrides
    recipe = resolve_recipe(request, ExtractRecipe.load(settings=overrides), keeps_model=True)
    for line in sample_warnings_of(request, recipe):
        progress.warn(line)
    sample = ranking_sample(request, recipe, options.images)
    progress.note(f"comparing on {counted(len(sample.folder.files), 'image')} (none from test)")
    request = replace(request, folder=sample.folder)
    evaluations = [
        CandidateEvaluation(candidate, sample, request, place.candidates, options) for candidate in candidates.available
    ]
    if place.ranking.is_file() and all(evaluation.is_known() for evaluation in evaluations):
        progress.note("this ranking is already complete; nothing to do")
    place.write_settings(folder.source, options.settings(request.split), request.command)
    rows = _evaluate(evaluations, options.max_mb, request, begun)
    facts = {"images": len(sample.folder.files), "classes": sample.classes, "seed": options.seed}
    ranking = Ranking.of(rows, options.by, source=folder.source, skipped=sample.skipped, **facts)
    place.write(ranking)
    plot_pareto(ranking, place.plot)
    if candidates.missing:
        count = len(candidates.missing)
        were, their = ("was", "its") if count == 1 else ("were", "their")
        how = "" if request.offline else "; --download includes them"
        progress.note(f"{count} more {were} not ranked, as {their} weights are not installed{how}")
    return ranking


def _evaluate(
    evaluations: Sequence[CandidateEvaluation], max_mb: float | None, request: TrainingRequest, begun: float
) -> list[CandidateScore]:
    """Return the scores within the limits; raise WeightsError if no candidate could be scored for want of weights."""
    rows: list[CandidateScore] = []
    failures: list[WeightsError] = []
    budget = math.inf if request.time_budget is None else request.time_budget
    for number, evaluation in enumerate(evaluations, start=1):
        candidate = evaluation.candidate
        is_over = time.monotonic() - begun > budget and any(not row.left_out for row in rows)
        if max_mb is not None and candidate.megabytes > max_mb:
            row = CandidateScore(candidate, left_out=f"over {max_mb:g} MB: not tried")
        elif is_over and not evaluation.is_known():
            row = CandidateScore(candidate, left_out="not tried: no time left")
        else:
            try:
                row = evaluation.score(f"{candidate.name} ({number} of {len(evaluations)})")
            except WeightsError as error:
                request.progress.warn(str(error))
                failures.append(error)
                row = CandidateScore(candidate, left_out="weights not available")
        rows.append(row)
    if failures and all(row.left_out for row in rows):
        raise failures[0]
    return rows
