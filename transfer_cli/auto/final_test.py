"""A model that was chosen by val meets the pictures of test, once; its run becomes one like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle import model_card
from transfer_cli.bundle.bundle import ModelBundle, folder_of
from transfer_cli.calibration.fit import ValFit
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.data.decoding import batches
from transfer_cli.data.skipped import Skipped, read_skipped, write_skipped
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel, FeatureModel
from transfer_cli.io.atomic import write_json, write_text
from transfer_cli.metrics.scores import Metrics
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.request import TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.preflight import Survey

_BATCH = 32


class FinalTest:
    """What is written once it is decided which of some runs is taken.

    Parameters
    ----------
    request : Request
        Its run is the one to be written.
    found : Survey
        All pictures, those of test, too.
    winner : TrainingResult
        A run that was given no picture of test.
    """

    def __init__(self, request: TrainingRequest, found: Survey, winner: TrainingResult) -> None:
        self._request, self._found, self._winner = request, found, winner
        self._run, self._source = request.run, FinishedRun.read(winner.run.path)
        self._opened = ModelBundle.open(winner.run.path)
        known = [*found.skipped, *read_skipped(winner.run.skipped)]
        self._skipped: list[Skipped] = [*{item.path: item for item in known}.values()]

    def write(self) -> TrainingResult:
        """Score the model on test and write all of the run; return what it came to."""
        run, winner = self._run, self._winner
        self._copy()
        test, answers, rows = self._asked_about_test()
        split = self._whole_split(test)
        split.write(run.split)
        write_skipped(run.skipped, self._skipped)
        self._write_features(split, test, rows)
        opened = self._opened
        fitted = _trust_of(opened.bundle, opened.directory)
        place = {row.path: number for number, row in enumerate(split.rows)}
        where = np.array([place[path] for path in test], np.int64)
        metrics: Metrics = {part: figures for part, figures in winner.metrics.items() if part == "val"}
        metrics = {**metrics, **score_parts(run, split, {"test": (where, answers)}, fitted.thresholds)}
        lifecycle.must_be_good_enough(self._request, metrics, winner.val_note)

        def save(directory: Path) -> None:
            for name in opened.bundle.files.keys() - {model_card.FILE}:
                shutil.copyfile(opened.directory / name, directory / name)
            known: dict[str, Path] = {}
            for number, member in enumerate(opened.members, start=1):
                member.copy_to(directory / folder_of(number), known)
            model_card.write(
                directory,
                opened.bundle,
                split,
                metrics,
                fitted,
                name=self._request.folder.name,
                skipped=len(self._skipped),
                val_note=winner.val_note,
                members=[*opened.leaves()] if opened.members else (),
            )

        opened.bundle.model_copy(update={"files": {}, "digest": ""}).write(run.model, save)
        write_json(run.metrics, metrics)
        run.log("end", metrics=metrics)
        take_recipe(run, winner.run)
        uneven = is_uneven(split)
        return TrainingResult(run, metrics, tuple(self._skipped), winner.val_note, is_uneven=uneven)

    def _copy(self) -> None:
        """Bring along what the winner has beside its model."""
        run, winner = self._run, self._winner.run
        pairs = [
            (winner.history, run.history),
            (winner.plan, run.plan),
            (winner.members, run.members),
            (winner.environment, run.environment),
        ]
        pairs += [(of(winner, "val"), of(run, "val")) for of in _TABLES]
        for source, target in pairs:
            if source.is_file():
                shutil.copyfile(source, target)
        if any(event["event"] == "test" for event in run.logged()):
            # Brought by a command that was stopped after this.
            return
        for event in winner.logged():
            if event["event"] not in ("begin", "end"):
                run.log(**{word: value for word, value in event.items() if word != "time"})

    def _asked_about_test(self) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the pictures of test that can be read, what the model says of them, and their features if it has any.

        This is the one place where a picture of test is looked at.
        """
        run, folder = self._run, self._request.folder
        paths = self._askable()
        run.log("test", images=len(paths))
        with self._request.progress.track("loading the model", None):
            model = load(str(self._winner.run.path), cache=self._request.cache, images=len(paths))
        (size, resize), *others = model.views
        read = batches(
            paths,
            size=size,
            resize=resize,
            others=others,
            batch_size=_BATCH,
            root=folder.root,
            strict=self._request.strict,
        )
        kept: list[str] = []
        answers: list[NDArray[np.float32]] = [np.empty((0, len(model.class_names)), np.float32)]
        rows: list[NDArray[np.float32]] = []
        with self._request.progress.track("predicting test", len(paths)) as advance:
            for batch in read:
                if batch.paths:
                    said, found = _answer(model, batch.views)
                    answers.append(said)
                    rows += [] if found is None else [found]
                kept += batch.paths
                self._skipped += batch.skipped
                advance(len(batch.paths) + len(batch.skipped))
        return kept, np.concatenate(answers), np.concatenate(rows) if rows else None

    def _askable(self) -> list[str]:
        """Return the pictures of test but those of a class that the model does not know: it could only be wrong."""
        learnt = {*self._opened.bundle.class_names}
        rows = [row for row in self._found.split.rows if row.part == "test"]
        paths = [row.path for row in rows if learnt.issuperset(row.labels)]
        if unknown := sorted({label for row in rows for label in row.labels} - learnt):
            self._request.progress.warn(
                f"{len(rows) - len(paths)} pictures of test are left out: no picture of {', '.join(unknown)} could be "
                "read to learn from"
            )
        for row in rows:
            if missing := [label for label in row.labels if label not in learnt]:
                reason = f"no picture of {', '.join(missing)} could be read to learn from"
                self._skipped.append(Skipped(row.path, reason))
        return paths

    def _whole_split(self, test: list[str]) -> Split:
        """Return the parts of all pictures that have a say here, in the order of the folder."""
        found = self._found.split
        kept = {row.path for row in self._source.split.rows} | {*test}
        return Split(tuple(row for row in found.rows if row.path in kept), found.seed, found.made_by, found.task)

    def _write_features(self, split: Split, test: list[str], rows: NDArray[np.float32] | None) -> None:
        if not self._winner.run.features.is_file() or (rows is None and test):
            return
        known = table.of_run(self._source)
        row_of = dict(zip((row.path for row in self._source.split.rows), known, strict=True))
        if rows is not None:
            row_of |= dict(zip(test, rows, strict=True))
        table.write(self._run.features, split, np.stack([row_of[row.path] for row in split.rows]))


def take_recipe(run: RunDirectory, winner: RunDirectory) -> None:
    """Let a run have the recipe of what was taken, so that it can be repeated; what was asked for is in auto.json."""
    write_text(run.recipe, winner.recipe.read_text("utf-8"))


def _answer(
    model: AbstractModel, views: tuple[NDArray[np.uint8], ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    if not isinstance(model, FeatureModel):
        return model.predict_views(views), None
    rows = model.features(views[0])
    return model.classify(rows), rows


def _trust_of(bundle: ModelBundle, directory: Path) -> ValFit:
    """Return what was fitted on val when a bundle was made."""
    rejection = Rejection.load(directory / REJECTION_FILE) if REJECTION_FILE in bundle.files else None
    thresholds = None if bundle.thresholds is None else np.array(bundle.thresholds)
    return ValFit(thresholds, bundle.temperature, rejection)


_TABLES = (RunDirectory.predictions, RunDirectory.confusion, RunDirectory.curves)
