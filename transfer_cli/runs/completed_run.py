"""A complete run: its split, metrics, and predictions with the true labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.repeats_folder import check_single_run
from transfer_cli.data.predictions import Predictions
from transfer_cli.data.sample_depth import MAX_BITS, MIN_BITS
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError, MissingModelError, OutputError, RunError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.io.foreign_tables import SUFFIXES as TABLE_SUFFIXES
from transfer_cli.io.untrusted.toml_text import read_toml
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs.entry import reading
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted


@dataclass(frozen=True)
class PartPredictions:
    """The predictions of a run on one part of its split.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        Row of each image in the split.
    truth : ndarray of shape (n,) or (n, k), int
        Class index of each image, or the indicator matrix of its labels.
    predictions : Predictions
        Paths relative to the folder, and probabilities, in the same order.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    predictions: Predictions

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable class of each image, of shape (n,)."""
        return np.asarray(self.predictions.probabilities.argmax(axis=1), np.int64)


@dataclass(frozen=True)
class FinishedRun:
    """A complete run.

    Attributes
    ----------
    directory : RunDirectory
    split : Split
    recipe : dict
        As in recipe.toml.
    metrics : dict
        As in metrics.json.
    images : Path or None
        The folder of the images, if they have moved since the run was made.
    """

    directory: RunDirectory
    split: Split
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    images: Path | None = None

    @classmethod
    def read(cls, path: StrPath, images: StrPath | None = None) -> FinishedRun:
        """Return the run at `path`.

        Raises
        ------
        MissingModelError
            If there is no run, or it is not complete.
        RunError
            If it is a bundle.
        InputError
            If `images` is not a folder.
        """
        path = as_path(path, "a run")
        images = None if images is None else as_path(images, "the folder of the images")
        if images and not images.is_dir():
            raise InputError(f"{images} is not a folder. Expected the folder of the images of {path}.")
        run = RunDirectory(path)
        run.restore_earlier()
        if path.is_file():
            raise MissingModelError(f"{path} is a file. Expected the folder that a training command wrote.")
        if not path.is_dir():
            raise MissingModelError.of("run", path)
        if (path / MANIFEST).is_file() and not run.recipe.is_file():
            of_run = RunDirectory(path.resolve().parent)
            where = of_run.path if of_run.recipe.is_file() else "the directory that model/ was in"
            raise RunError(f"{path} is a bundle. Expected the run that it belongs to.", hint=f"Use the run: {where}")
        check_single_run(path)
        if not run.recipe.is_file():
            raise MissingModelError(
                f"{path} is not a run: it has no {run.recipe.name}. Expected output of extract or finetune."
            )
        if not all(path.is_file() for path in (run.metrics, run.split, run.folder)):
            hint = f"Continue it with the command in {run.command}."
            raise MissingModelError(f"The run {path} is not complete.", hint=hint)
        with reading(run.recipe):
            recipe = read_toml(run.recipe)[1]
        return cls(run, Split.read(run.split), recipe, run.read_metrics(), images)

    @property
    def source(self) -> Path:
        """The folder or CSV file that the run was made from."""
        return Path(read_regular_text(self.directory.folder).strip())

    @property
    def root(self) -> Path:
        """The folder that the paths of the split are relative to."""
        if self.images:
            return self.images
        source = self.source
        is_table = source.suffix.lower() in TABLE_SUFFIXES and not source.is_dir()
        return self.images_elsewhere or (source.parent if is_table else source)

    @property
    def bit_depth(self) -> int | None:
        """The number of lowest bits that its images with 16 bits per sample use, as chosen (see `View`)."""
        images = self.recipe.get("images")
        chosen = images.get("bit_depth") if isinstance(images, dict) else None
        return chosen if isinstance(chosen, int) and MIN_BITS <= chosen <= MAX_BITS else None

    @property
    def images_elsewhere(self) -> Path | None:
        """The folder of the images if it is not the one that `source` implies."""
        path = self.directory.images
        return Path(read_regular_text(path).strip()) if path.is_file() else None

    def check_images_not_lost(self, made: Path, *, overwrite: bool = False) -> None:
        """Raise OutputError if `made`, a page with images, exists and most of the images do not exist any more."""
        if overwrite or not made.is_file():
            return
        rows = self.split.rows
        missing = sum(not (self.root / row.path).is_file() for row in rows)
        if 2 * missing > len(rows):
            lost = f"{missing} of {counted(len(rows), 'image')} of {self.directory.path} no longer in {self.root}"
            hint = "Add --images DIR if they have moved, write elsewhere with -o, or add --overwrite."
            raise OutputError(f"{lost}: the existing {made} would be replaced by one with placeholders.", hint=hint)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the split that were scored, val before test."""
        return tuple(part for part in ("val", "test") if self.directory.predictions(part).is_file())

    def predictions_of(self, part: str) -> PartPredictions:
        """Return the predictions on one part of the split.

        Raises
        ------
        InputError
            If the table cannot be read, or lists images that the split does not have.
        """
        path = self.directory.predictions(part)
        names = self.split.class_names
        columns = [f"p_{name}" for name in names]
        table = read_table(path, ("path", *columns))
        row_of = {row.path: number for number, row in enumerate(self.split.rows)}
        if unknown := [row["path"] for row in table if row["path"] not in row_of]:
            raise InputError(f"{path} lists {unknown[0]}, which is not in {self.directory.split}.")
        rows = np.array([row_of[row["path"]] for row in table], np.int64)
        try:
            numbers = [[float(row[column]) for column in columns] for row in table]
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} has a probability that is not a number: {error}.") from None
        probabilities = np.array(numbers, np.float32).reshape(len(table), len(names))
        predictions = Predictions(tuple(row["path"] for row in table), names, probabilities)
        return PartPredictions(rows, self.split.truth()[rows], predictions)
