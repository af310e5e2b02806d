"""The facts of a run that several sections of its report need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from transfer_cli.audit.leakage import Leaks, find_or_load_leaks
from transfer_cli.bundle.bundle import ENSEMBLE, ModelBundle
from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.errors import TransferError
from transfer_cli.features.nearest import Neighbour
from transfer_cli.progress import Progress
from transfer_cli.rendering.thumbnails import ThumbnailStore
from transfer_cli.report.confusion_cells import Rows, confident_mistakes, confusion_table
from transfer_cli.report.diagnostics import diagnose
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.neighbourhood import FeatureNeighbourhood
from transfer_cli.report.run_facts_reader import read_run_facts
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.text import counted, printable

CONFIDENT_MISTAKES = 12
"""Confident mistakes shown per split."""
LEAKS_SHOWN = 24
SIMILAR_SHOWN = 3
"""Most similar training images shown beside each confident mistake."""
MAX_COMPARED = 4000
"""With more images near-duplicates are not searched: this takes minutes, and `leaks` does it."""

Value = TypeVar("Value")


class ReportContext:
    """A finished run that has predictions, read and prepared for its report.

    Attributes
    ----------
    run : FinishedRun
    progress : Progress
    omissions : dict of str to str
        Parts of the page that could not be made, each with the reason; the user is warned at once.
    names : list of str
        The class names, printable.
    is_multi_label : bool
        Whether an image can have several labels.
    parts : dict of str to PartPredictions
        Predictions per split, test before val.
    part : str
        The split that the run is evaluated on: test, or val if there is no test set.
    tables : dict of str to Table
        The cells of the confusion matrix per split.
    mistakes : dict of str to ndarray of int
        Positions of the most confident mistakes per split.
    has_no_features : bool
        Whether the run is an ensemble whose features are with its members.
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
    findings : list of Finding
        The problems of the run, the most severe first.
    """

    def __init__(self, run: FinishedRun, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self.omissions: dict[str, str] = {}
        self.names = [printable(name) for name in run.split.class_names]
        self.is_multi_label = run.split.task == MULTI_LABEL
        thresholds = self._thresholds() if self.is_multi_label else None
        self.parts = {part: run.predictions_of(part) for part in reversed(run.parts)}
        self.part = next(iter(self.parts))
        self.tables = {part: confusion_table(of, run.split.class_names, thresholds) for part, of in self.parts.items()}
        self.mistakes = {part: confident_mistakes(of, CONFIDENT_MISTAKES) for part, of in self.parts.items()}
        is_ensemble = run.recipe.get("method") == ENSEMBLE or run.directory.members.is_file()
        self.has_no_features = is_ensemble and not run.directory.features.is_file()
        self.neighbourhood: FeatureNeighbourhood | None = None
        if not self.has_no_features:
            self.neighbourhood = self.attempt("the map and similar images", lambda: FeatureNeighbourhood(run), None)
        self.similar, self.map_rows = self._neighbours()
        self.leaks = self._leaks()
        self.thumbnails = ThumbnailStore(run.root, bit_depth=run.bit_depth)
        self.thumbnails.add(self._images_by_importance(), progress)
        self.history = self.attempt("the training history", lambda: TrainingHistory.read(run), TrainingHistory())
        self.members: MemberComparison | None = None
        bundles: Sequence[ModelBundle] = ()
        if is_ensemble:
            self.members = self.attempt("the members", lambda: MemberComparison.read(run.directory.members), None)
            bundles = self.attempt(
                "the networks of the members", lambda: [*ModelBundle.open(run.directory.path).leaves()], []
            )
        missing = len(self.thumbnails.missing)
        self.facts = read_run_facts(
            run, self.parts, self.history, thresholds, leaks=self.leaks, missing_images=missing, members=bundles
        )
        self.findings = diagnose(self.facts)

    def attempt(self, what: str, make: Callable[[], Value], otherwise: Value) -> Value:
        """Return the result of `make`; if it raises, record that `what` is missing and return `otherwise`."""
        try:
            return make()
        except (TransferError, OSError) as error:
            self.omissions[what] = str(error)
            self.progress.warn(f"the report is incomplete, without {what}: {error}")
            return otherwise

    @property
    def run_with_features(self) -> str:
        """The path of the run that has features: this run, or the first member of an ensemble."""
        if self.members and self.has_no_features:
            return self.members.rows[0].run
        return str(self.run.directory.path)

    def described(self, part: str) -> str:
        """Return what the predictions of a split are of: ``18 test images``."""
        cross_validated = " (cross-validated)" if self.facts.is_cross_validated(part) else ""
        return counted(self.facts.scores[part].images, self.facts.noun(part)) + cross_validated

    def _thresholds(self) -> tuple[float, ...]:
        """Return the threshold of each label."""
        default, path = (0.5,) * len(self.names), self.run.directory.path
        what = "the fitted thresholds of the labels (using 0.5)"
        return self.attempt(what, lambda: ModelBundle.read(path)[0].thresholds or default, default)

    def _neighbours(self) -> tuple[dict[str, list[list[Neighbour]]], Rows]:
        """Return the training images most similar to each mistake, and the rows of the map."""
        no_rows = np.zeros(0, np.int64)
        if self.neighbourhood is None:
            return {part: [[] for _ in rows] for part, rows in self.mistakes.items()}, no_rows
        similar = {
            part: self.neighbourhood.similar(self.parts[part].rows[rows].tolist(), SIMILAR_SHOWN)
            for part, rows in self.mistakes.items()
        }
        if self.is_multi_label:
            return similar, no_rows
        return similar, self.neighbourhood.sample(np.concatenate([of.rows for of in self.parts.values()]))

    def _leaks(self) -> Leaks | None:
        run, rows = self.run, self.run.split.rows
        has_few = self.neighbourhood is not None and len(rows) <= MAX_COMPARED
        search = has_few and any((run.root / row.path).is_file() for row in rows)
        return self.attempt(
            "the search for near-duplicates",
            lambda: find_or_load_leaks(run, search=search, progress=self.progress),
            None,
        )

    def _images_by_importance(self) -> list[str]:
        """Return the paths of leaks, similar images, confident and other mistakes, correct predictions, and the map."""
        leaks = self.leaks.pairs[:LEAKS_SHOWN] if self.leaks else ()
        paths = [row.path for leak in leaks for row in (leak.a, leak.b)]
        paths += [near.row.path for of_part in self.similar.values() for of_image in of_part for near in of_image]
        paths += [self.parts[part].predictions.paths[row] for part, rows in self.mistakes.items() for row in rows]
        for correct in (False, True):
            for part, table in self.tables.items():
                of_part = self.parts[part].predictions.paths
                shown = [cell.rows for row in table for cell in row if cell and cell.correct == correct]
                # One image of each cell, then a second one of each: a full page leaves no cell without images.
                for place in range(max(map(len, shown), default=0)):
                    paths += [of_part[rows[place]] for rows in shown if place < len(rows)]
        return paths + [self.run.split.rows[row].path for row in self.map_rows]
