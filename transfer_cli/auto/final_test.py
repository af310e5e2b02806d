"""Evaluate the selected model on test, once, and write its run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle, folder_of
from transfer_cli.bundle.files import MODEL_CARD_FILE
from transfer_cli.bundle.model_card import ModelCard
from transfer_cli.calibration.fit import ValFit
from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.skipped import Skipped, read_skipped, write_skipped
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.features.fingerprints import Fingerprints
from transfer_cli.inference.load import load
from transfer_cli.io.atomic import copy_file, write_text
from transfer_cli.metrics.scores import Metrics
from transfer_cli.runs.accuracy_gate import check_accuracy
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts
from transfer_cli.text import counted, shell_command
from transfer_cli.training.setup.leakage import leaked_rows
from transfer_cli.training.setup.preflight import Survey

_BATCH = 32


class FinalTest:
    """Evaluates the selected model on test and writes it as a run like any other.

    Parameters
    ----------
    request : TrainingRequest
        `run` is the run to write.
    survey : Survey
        All images, including test.
    winner : TrainingResult
        The run of the selected model, which has no test images.
    """

    def __init__(self, request: TrainingRequest, survey: Survey, winner: TrainingResult) -> None:
        self._request, self._survey, self._winner = request, survey, winner
        self._run, self._source = request.run, FinishedRun.read(winner.run.path)
        self._opened = ModelBundle.open(winner.run.path)
        skipped = [*survey.skipped, *read_skipped(winner.run.skipped)]
        self._skipped: list[Skipped] = [*{item.path: item for item in skipped}.values()]

    def run(self) -> TrainingResult:
        """Evaluate the model on test, and write the run."""
        run, winner = self._run, self._winner
        self._copy_files()
        test, probabilities, features = self._predict_test()
        split = self._merge_split(test)
        split.write(run.split)
        write_skipped(run.skipped, self._skipped)
        self._write_features(split, test, features)
        opened = self._opened
        has_rejection, thresholds = REJECTION_FILE in opened.bundle.files, opened.bundle.thresholds
        fitted = ValFit(
            None if thresholds is None else np.array(thresholds),
            opened.bundle.temperature,
            Rejection.load(opened.directory / REJECTION_FILE) if has_rejection else None,
        )
        row_of = {row.path: number for number, row in enumerate(split.rows)}
        rows = np.array([row_of[path] for path in test], np.int64)
        metrics: Metrics = {part: values for part, values in winner.metrics.items() if part == "val"}
        leaked = self._leaked(split)
        metrics = {**metrics, **score_parts(run, split, {"test": (rows, probabilities)}, fitted.thresholds, leaked)}
        check_accuracy(self._request, metrics, winner.val_note)

        def save(directory: Path) -> None:
            for file in opened.bundle.files.keys() - {MODEL_CARD_FILE}:
                shutil.copyfile(opened.directory / file, directory / file)
            copied: dict[str, Path] = {}
            for number, member in enumerate(opened.members, start=1):
                member.copy_to(directory / folder_of(number), copied)
            leaves = [*opened.leaves()] if opened.members else ()
            skipped, name = len(self._skipped), self._request.folder.name
            ModelCard(opened.bundle, split, metrics, fitted, name, skipped, winner.val_note, leaves).write(directory)

        opened.bundle.model_copy(update={"files": {}, "digest": ""}).write(run.model, save)
        result = TrainingResult.complete(run, split, metrics, self._skipped, winner.val_note)
        copy_recipe(winner.run, run)
        return result

    def _copy_files(self) -> None:
        """Copy the files and events of the winner that are not part of its model."""
        run, winner = self._run, self._winner.run
        files = [winner.history, winner.plan, winner.members, winner.environment]
        files += [of("val") for of in (winner.predictions, winner.confusion, winner.curves)]
        for file in files:
            if file.is_file():
                copy_file(file, run.path / file.name)
        if any(event["event"] == "test" for event in run.read_events()):
            # The events were copied by an earlier command that was interrupted later.
            return
        for event in winner.read_events():
            if event["event"] not in ("begin", "end"):
                run.log(**{key: value for key, value in event.items() if key != "time"})

    def _predict_test(self) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the readable test images, their probabilities, and their features if the model has any.

        This is the only place where `auto` uses test images.
        """
        run, folder = self._run, self._request.folder
        paths = self._testable_images()
        run.log("test", images=len(paths))
        with self._request.progress.track("loading the model", None):
            model = load(str(self._winner.run.path), cache=self._request.cache, images=len(paths))
        read = view_batches(paths, model.views, batch_size=_BATCH, root=folder.root, strict=self._request.strict)
        readable: list[str] = []
        probabilities: list[NDArray[np.float32]] = [np.empty((0, len(model.class_names)), np.float32)]
        features: list[NDArray[np.float32]] = []
        with self._request.progress.track("predicting test", len(paths)) as advance:
            for batch in read:
                if batch.paths:
                    predicted, rows = model.predict_with_features(batch.views)
                    probabilities.append(predicted)
                    features += [] if rows is None else [rows]
                readable += batch.paths
                self._skipped += batch.skipped
                advance(len(batch.paths) + len(batch.skipped))
        return readable, np.concatenate(probabilities), np.concatenate(features) if features else None

    def _testable_images(self) -> list[str]:
        """Return the test images whose classes the model knows; the others are recorded as skipped."""
        known = {*self._opened.bundle.class_names}
        rows = [row for row in self._survey.split.rows if row.part == "test"]
        paths = []
        for row in rows:
            if missing := [label for label in row.labels if label not in known]:
                self._skipped.append(Skipped(row.path, f"no training image of {', '.join(missing)} could be read"))
            else:
                paths.append(row.path)
        if unknown := sorted({label for row in rows for label in row.labels} - known):
            self._request.progress.warn(
                f"{counted(len(rows) - len(paths), 'test image', 'is')} left out: no training image "
                f"of {', '.join(unknown)} could "
                "be read"
            )
        return paths

    def _merge_split(self, test: list[str]) -> Split:
        """Return the split of the images of the winner and of test, in the order of the folder."""
        split = self._survey.split
        used = {row.path for row in self._source.split.rows} | {*test}
        return Split(tuple(row for row in split.rows if row.path in used), split.seed, split.made_by, split.task)

    def _leaked(self, split: Split) -> NDArray[np.bool_] | None:
        """Return which rows are test images with a near-duplicate among the training images."""
        request, paths = self._request, [row.path for row in split.rows]
        prints, read = Fingerprints.of_files(paths, request.folder.root, request.progress, self._source.bit_depth)
        if len(read) < len(paths):
            again = f"transfer-cli leaks {shell_command(request.run.path)}"
            request.progress.warn(
                f"{len(paths) - len(read)} of {counted(len(paths), 'image')} can no longer be read, "
                f"so near-duplicates across "
                f"the parts were not looked for. Restore them, then: {again}"
            )
            return None
        features = table.read(self._run.features) if self._run.features.is_file() else None
        return leaked_rows(request, split, prints, features, grouped=False)

    def _write_features(self, split: Split, test: list[str], features: NDArray[np.float32] | None) -> None:
        if not self._winner.run.features.is_file() or (features is None and test):
            return
        known = table.features_of_run(self._source)
        row_of = dict(zip((row.path for row in self._source.split.rows), known, strict=True))
        if features is not None:
            row_of |= dict(zip(test, features, strict=True))
        table.write(self._run.features, split, np.stack([row_of[row.path] for row in split.rows]))


def copy_recipe(winner: RunDirectory, run: RunDirectory) -> None:
    """Copy the recipe of the selected model, so that the run can be reproduced; that of `auto` is in auto.json."""
    write_text(run.recipe, winner.recipe.read_text("utf-8"))
