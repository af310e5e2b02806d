"""Which backbone to start from: a cross-validated classifier on the features of each, beside what it costs here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from transfer_cli.catalog import runtimes
from transfer_cli.data.image_folder import ImageFolder, describe_left_out
from transfer_cli.data.split import Split
from transfer_cli.errors import WeightsError
from transfer_cli.io.cache import Cache
from transfer_cli.progress import SILENT, Progress
from transfer_cli.ranking.candidate_score import CandidateEvaluation
from transfer_cli.ranking.candidates import Candidates
from transfer_cli.ranking.plot import pareto
from transfer_cli.ranking.results import PROBE, By, CandidateScore, Ranking, RankingDirectory
from transfer_cli.ranking.sample import ranking_sample
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.setup import lifecycle

PICTURES = 2000
"""On so many, two backbones that disagree on a tenth of the pictures are told apart by two points of accuracy."""


def rank(
    folder: ImageFolder,
    place: RankingDirectory,
    *,
    among: Sequence[str] = (),
    weights: Sequence[str] = (),
    images: int = PICTURES,
    by: By = PROBE,
    max_ms: float | None = None,
    max_mb: float | None = None,
    seconds: float | None = None,
    download: bool = False,
    runtime: str = runtimes.AUTO,
    group_by: str | None = None,
    seed: int = 0,
    split: Split | None = None,
    offline: bool = False,
    strict: bool = False,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> Ranking:
    """Say which backbone to start from.

    Each candidate's features of the same pictures come through the feature cache, where extract finds them again. On
    them the default classifier of extract, a logistic regression with its regularisation chosen among a few, is
    cross-validated; relatives are in one fold. No picture of the test part is looked at: the parts are those that
    extract and finetune would make.

    The best one is that with the lowest out-of-fold log loss, which counts by how much each picture is right or
    wrong: chance moves it less than the accuracy, and it is defined for several labels a picture. Which others have
    as many pictures right, as far as these can tell, is said (Ranking.within_noise), so that a smaller one may be
    taken. Chosen among many, the figures of the best one are a little flattered.

    What was found of each candidate is written as it comes: the same call goes on where it was stopped, and takes no
    forward pass for what is known of the same pictures on the same machine.

    Parameters
    ----------
    folder : ImageFolder
    place : RankingDirectory
        Where everything is written.
    among : sequence of str
        Names or patterns of backbones (see Candidates.among).
    weights : sequence of str
        Which weights of each: imagenet, embedded or none.
    images : int
        The most that are looked at.
    by : {"probe", "logme"}
        ``logme`` fits no classifier, which is quicker (see engine/logme).
    max_ms, max_mb : float, optional
        Of what takes longer for a picture, or is larger, nothing more is found out, and it does not win.
    seconds : float, optional
        No candidate is begun after these, but one always is; the cheapest come first.
    download : bool
        Bring the weights that are not on this machine.
    runtime : str
        A name of the catalog, or ``auto``.
    group_by : str, optional
        A regular expression of relatives, as split.group_by of a recipe.
    seed : int
        Of the choice of pictures, the folds and random weights.
    split : Split, optional
        Followed for the pictures it knows; else split.csv in the folder.
    offline, strict : bool
        Never open a socket; raise ImageError at the first picture that cannot be read.
    cache : Cache, optional
        The person's own where it is not given.
    progress : Progress

    Returns
    -------
    Ranking

    Raises
    ------
    WeightsError
        When weights that were named are not to be had, or none are.
    UnknownNameError
        When a name or a pattern means no backbone.
    FolderError
        When there are too few pictures to compare by.
    OutputError
        When `place` holds something else, or cannot be written.
    """
    begun = time.monotonic()
    chosen = Candidates.among(among, weights, download=download)
    place.must_be_free(folder.source)
    for line in filter(None, [folder.summary(), describe_left_out(folder.left_out)]):
        progress.note(line)
    for line in folder.warnings():
        progress.warn(line)
    kept = cache or Cache.of_user()
    request = TrainingRequest(
        folder, RunDirectory(place.path), split=split, offline=offline, strict=strict, cache=kept, progress=progress
    )
    words = {"seed": seed, "inference.runtime": runtime, "split.group_by": group_by}
    first = lifecycle.resolved(request, ExtractRecipe.load(words=words | chosen.ready[0].words), keeps_model=True)
    few = ranking_sample(request, first, images)
    request = replace(request, folder=few.folder)
    progress.note(f"ranked by {len(few.folder.files)} pictures, none of them test")
    rows: list[CandidateScore] = []
    failure: WeightsError | None = None
    for number, candidate in enumerate(chosen.ready, start=1):
        rating = CandidateEvaluation(candidate, few, request, place, words)
        said = f"{candidate.name} ({number} of {len(chosen.ready)})"
        if max_mb is not None and candidate.megabytes > max_mb:
            rows.append(CandidateScore(candidate, left_out=f"over {max_mb:g} MB: not tried"))
        elif _is_over(seconds, begun, rows) and not rating.is_known(by, max_ms):
            rows.append(CandidateScore(candidate, left_out="not tried: no time was left"))
        else:
            try:
                rows.append(rating.rated(by, max_ms, said))
            except WeightsError as error:
                progress.warn(str(error))
                failure = failure or error
                rows.append(CandidateScore(candidate, left_out="its weights are not to be had"))
    if failure is not None and all(row.left_out for row in rows):
        raise failure
    facts = {"source": folder.source, "images": len(few.folder.files), "classes": few.classes, "seed": seed}
    ranking = Ranking.of(rows, by, **facts, skipped=few.skipped)
    place.write(ranking)
    pareto(ranking, place.plot)
    if chosen.absent:
        progress.note(f"{len(chosen.absent)} more were not ranked, whose weights are not here: --download brings them")
    return ranking


def _is_over(seconds: float | None, begun: float, rows: Sequence[CandidateScore]) -> bool:
    return seconds is not None and time.monotonic() - begun > seconds and any(not row.left_out for row in rows)
