"""The facts of a run that several sections of its report need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.leakage import Leaks, find_or_load_leaks
from transfer_cli.bundle.bundle import ENSEMBLE, ModelBundle
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.errors import TransferError
from transfer_cli.features.nearest import Neighbour
from transfer_cli.progress import Progress
from transfer_cli.rendering.thumbnails import ThumbnailStore
from transfer_cli.report.confusion_cells import Rows, Tables, confident_mistakes, confusion_table
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.neighbourhood import FeatureNeighbourhood
from transfer_cli.report.run_facts import PartScores, RunFacts
from transfer_cli.report.run_facts_reader import read_run_facts
from transfer_cli.runs.completed_run import FinishedRun, PartPredictions
from transfer_cli.text import counted, printable

CONFIDENT_MISTAKES = 12
"""Confident mistakes shown per split."""
LEAKS_SHOWN = 24
SIMILAR_SHOWN = 3
"""Most similar training images shown beside each confident mistake."""
MAX_COMPARED = 4000
"""With more images near-duplicates are not searched: this takes minutes, and `leaks` does it."""

Value = TypeVar("Value")


class Omissions:
    """Parts of the page that could not be made, each with the reason; the user is warned at once."""

    def __init__(self, progress: Progress) -> None:
        self.reasons: dict[str, str] = {}
        self._progress = progress

    def attempt(self, what: str, make: Callable[[], Value], otherwise: Value) -> Value:
        """Return the result of `make`; if it raises, record that `what` is missing and return `otherwise`."""
        try:
            return make()
        except (TransferError, OSError) as error:
            self.reasons[what] = str(error)
            self._progress.warn(f"the report is incomplete, without {what}: {error}")
            return otherwise


@dataclass(frozen=True)
class ReportContext:
    """A finished run, read and prepared for its report.

    Attributes
    ----------
    run : FinishedRun
    progress : Progress
    omissions : Omissions
    parts : dict of str to PartPredictions
        Predictions per split, test before val.
    tables : dict of str to Table
        The cells of the confusion matrix per split.
    mistakes : dict of str to ndarray of int
        Positions of the most confident mistakes per split.
    neighbourhood : FeatureNeighbourhood or None
        None if the run has no features.
    similar : dict of str to list of list of Neighbour
        The most similar training images of each of `mistakes`.
    map_rows : ndarray of int
        Rows of the split that are shown on the map.
    leaks : Leaks or None
        None if near-duplicates were not searched.
    thumbnails : ThumbnailStore
    history : TrainingHistory
    members : MemberComparison or None
        Of an ensemble.
    facts : RunFacts
    """

    run: FinishedRun
    progress: Progress
    omissions: Omissions
    parts: Mapping[str, PartPredictions]
    tables: Tables
    mistakes: Mapping[str, Rows]
    neighbourhood: FeatureNeighbourhood | None
    similar: Mapping[str, Sequence[Sequence[Neighbour]]]
    map_rows: NDArray[np.int64]
    leaks: Leaks | None
    thumbnails: ThumbnailStore
    history: TrainingHistory
    members: MemberComparison | None
    facts: RunFacts

    @classmethod
    def read(cls, run: FinishedRun, progress: Progress) -> ReportContext:
        """Read a run that has predictions."""
        omissions = Omissions(progress)
        thresholds = _thresholds(run, omissions)
        parts = {part: run.predictions_of(part) for part in reversed(run.parts)}
        tables = {part: confusion_table(of, run.split.class_names, thresholds) for part, of in parts.items()}
        mistakes = {part: confident_mistakes(of, CONFIDENT_MISTAKES) for part, of in parts.items()}
        # Most ensembles have no features of their own.
        has_features = run.directory.features.is_file() or not _is_ensemble(run)
        neighbourhood = _neighbourhood(run, omissions) if has_features else None
        similar, map_rows = _neighbours(neighbourhood, parts, mistakes)
        leaks = _leaks(run, neighbourhood is not None, omissions, progress)
        thumbnails = ThumbnailStore(run.root)
        thumbnails.add(
            [
                *(row.path for leak in (leaks.pairs[:LEAKS_SHOWN] if leaks else ()) for row in (leak.a, leak.b)),
                *(near.row.path for of_part in similar.values() for of_image in of_part for near in of_image),
                *_by_importance(parts, tables, mistakes),
                *(run.split.rows[row].path for row in map_rows),
            ],
            progress,
        )
        no_history = TrainingHistory((), None, (), ())
        history = omissions.attempt("the training history", lambda: TrainingHistory.read(run), no_history)
        comparison, bundles = _members(run, omissions) if _is_ensemble(run) else (None, ())
        facts = read_run_facts(
            run, parts, history, thresholds, leaks=leaks, missing_images=len(thumbnails.missing), members=bundles
        )
        return cls(
            run=run,
            progress=progress,
            omissions=omissions,
            parts=parts,
            tables=tables,
            mistakes=mistakes,
            neighbourhood=neighbourhood,
            similar=similar,
            map_rows=map_rows,
            leaks=leaks,
            thumbnails=thumbnails,
            history=history,
            members=comparison,
            facts=facts,
        )

    @property
    def part(self) -> str:
        """The split that the run is evaluated on: test, or val if there is no test set."""
        return next(iter(self.parts))

    @property
    def names(self) -> list[str]:
        """The class names, printable."""
        return [printable(name) for name in self.run.split.class_names]

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can have several labels."""
        return self.run.split.task == MULTI_LABEL

    @property
    def has_no_features(self) -> bool:
        """Whether the run is an ensemble whose features are with its members."""
        return _is_ensemble(self.run) and not self.run.directory.features.is_file()

    @property
    def run_with_features(self) -> str:
        """The path of the run that has features: this run, or the first member of an ensemble."""
        if self.members and self.has_no_features:
            return self.members.rows[0].run
        return str(self.run.directory.path)

    def scores(self, part: str) -> PartScores:
        """Return the scores on a split."""
        return self.facts.scores[part]

    def described(self, part: str) -> str:
        """Return what the predictions of a split are of: ``18 test images``."""
        cross_validated = " (cross-validated)" if self.is_cross_validated(part) else ""
        return counted(self.scores(part).images, self.facts.noun(part)) + cross_validated

    def is_cross_validated(self, part: str) -> bool:
        """Return whether the predictions of a split are out-of-fold predictions of training images."""
        return part == "val" and self.facts.out_of_fold


def _is_ensemble(run: FinishedRun) -> bool:
    return run.recipe.get("method") == ENSEMBLE or run.directory.members.is_file()


def _thresholds(run: FinishedRun, omissions: Omissions) -> tuple[float, ...] | None:
    """Return the threshold of each label; None if an image has one class."""
    if run.split.task != MULTI_LABEL:
        return None
    default = (0.5,) * len(run.split.class_names)
    what = "the fitted thresholds of the labels (using 0.5)"
    return omissions.attempt(what, lambda: ModelBundle.read(run.directory.path)[0].thresholds or default, default)


def _neighbourhood(run: FinishedRun, omissions: Omissions) -> FeatureNeighbourhood | None:
    nothing: FeatureNeighbourhood | None = None
    return omissions.attempt("the map and similar images", lambda: FeatureNeighbourhood.read(run), nothing)


def _neighbours(
    neighbourhood: FeatureNeighbourhood | None, parts: Mapping[str, PartPredictions], mistakes: Mapping[str, Rows]
) -> tuple[dict[str, list[list[Neighbour]]], NDArray[np.int64]]:
    """Return the training images most similar to each mistake, and the rows of the map."""
    if neighbourhood is None:
        return {part: [[] for _ in rows] for part, rows in mistakes.items()}, np.zeros(0, np.int64)
    similar = {
        part: neighbourhood.similar([int(parts[part].rows[row]) for row in rows], SIMILAR_SHOWN)
        for part, rows in mistakes.items()
    }
    if neighbourhood.run.split.task == MULTI_LABEL:
        return similar, np.zeros(0, np.int64)
    return similar, neighbourhood.sample(np.concatenate([of.rows for of in parts.values()]))


def _leaks(run: FinishedRun, has_features: bool, omissions: Omissions, progress: Progress) -> Leaks | None:
    rows = run.split.rows
    search = has_features and len(rows) <= MAX_COMPARED and any((run.root / row.path).is_file() for row in rows)
    return omissions.attempt(
        "the search for near-duplicates", lambda: find_or_load_leaks(run, search=search, progress=progress), None
    )


def _members(run: FinishedRun, omissions: Omissions) -> tuple[MemberComparison | None, tuple[ModelBundle, ...]]:
    """Return the comparison of an ensemble with its members, and their bundles."""
    comparison = omissions.attempt("the members", lambda: MemberComparison.read(run.directory.members), None)
    no_bundles: tuple[ModelBundle, ...] = ()
    bundles = omissions.attempt(
        "the networks of the members", lambda: tuple(ModelBundle.open(run.directory.path).leaves()), no_bundles
    )
    return comparison, bundles


def _by_importance(parts: Mapping[str, PartPredictions], tables: Tables, mistakes: Mapping[str, Rows]) -> list[str]:
    """Return the images of the tables: confident mistakes, then other mistakes, then correct predictions."""
    paths = [parts[part].predictions.paths[row] for part, rows in mistakes.items() for row in rows]
    for correct in (False, True):
        for part, table in tables.items():
            of_part = parts[part].predictions.paths
            shown = [cell.rows for row in table for cell in row if cell and cell.correct == correct]
            # One image of each cell, then a second one of each: a full page leaves no cell without images.
            for place in range(max(map(len, shown), default=0)):
                paths += [of_part[rows[place]] for rows in shown if place < len(rows)]
    return paths
