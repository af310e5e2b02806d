"""A run that came to its end, as one reads it: its parts, its figures, its predictions beside the truth."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import MANIFEST
from transfer_cli.data.predictions import Predictions
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError, OutputError, RunError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Answered:
    """What a run said of the pictures of a part.

    Attributes
    ----------
    rows : ndarray of shape (n,), int
        The place of each picture in the split.
    truth : ndarray of shape (n,) or (n, k), int
        Column of the class of each picture, or the indicator matrix of its labels.
    predictions : Predictions
        Paths relative to the folder, and probabilities, in the same order.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    predictions: Predictions

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The column of the most probable class of each picture, of shape (n,)."""
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
        Where the pictures are now, if not where they were when the run was made.
    """

    directory: RunDirectory
    split: Split
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    images: Path | None = None

    @classmethod
    def read(cls, path: Path, images: Path | None = None) -> FinishedRun:
        """Return the run at `path`.

        Parameters
        ----------
        path : Path
        images : Path, optional
            The folder that the paths of the split are relative to, where it is another one by now.

        Raises
        ------
        RunError
            When there is no run, or it did not come to its end.
        InputError
            When `images` is no folder.
        """
        if images and not images.is_dir():
            raise InputError(f"{images} is no folder. Expected the one that the pictures of {path} are in now.")
        run = RunDirectory(path)
        if not path.is_dir():
            raise RunError(f"There is no run at {path}.", hint="See what there is: ls runs")
        if (path / MANIFEST).is_file() and not run.recipe.is_file():
            of_run = RunDirectory(path.resolve().parent)
            where = of_run.path if of_run.recipe.is_file() else "the folder that its model/ was in"
            raise RunError(f"{path} is a bundle without its run. Expected a run.", hint=f"Give the run: {where}")
        if not run.recipe.is_file():
            raise RunError(f"{path} is no run: it has no {run.recipe.name}. Expected what extract or finetune wrote.")
        if not all(path.is_file() for path in (run.metrics, run.split, run.folder)):
            raise RunError(f"The run {path} was not finished.", hint=f"It goes on with the command in {run.command}.")
        try:
            recipe = tomllib.loads(run.recipe.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{run.recipe} cannot be read: {error}.") from None
        return cls(run, Split.read(run.split), recipe, run.read_metrics(), images)

    @property
    def source(self) -> Path:
        """The folder, or the CSV file, that the run was made from, as it was then."""
        return Path(self.directory.folder.read_text("utf-8", "surrogateescape").strip())

    @property
    def root(self) -> Path:
        """The folder that the paths of the split are relative to, as it was when the run was made unless it moved."""
        if self.images:
            return self.images
        source = self.source
        return source.parent if source.suffix.lower() == ".csv" and not source.is_dir() else source

    def must_not_lose(self, made: Path, *, overwrite: bool = False) -> None:
        """Raise OutputError if `made`, which shows pictures, would be replaced now that most of them are gone.

        Parameters
        ----------
        made : Path
            A page or a drawing, which may be there from earlier.
        overwrite : bool
            Let it be replaced.
        """
        if overwrite or not made.is_file():
            return
        rows = self.split.rows
        gone = sum(not (self.root / row.path).is_file() for row in rows)
        if 2 * gone > len(rows):
            raise OutputError(
                f"{gone} of {len(rows)} pictures of {self.directory.path} are not in {self.root} any more. {made} is "
                "there from earlier and would be lost to one of placeholders.",
                hint="Say where they are now with --images FOLDER; or write elsewhere with -o, or add --overwrite.",
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that were scored, val before test."""
        return tuple(part for part in ("val", "test") if self.directory.predictions(part).is_file())

    def answered(self, part: str) -> Answered:
        """Return what the run said of a part.

        Raises
        ------
        InputError
            When its table cannot be read, or is not of this split.
        """
        path = self.directory.predictions(part)
        names = self.split.class_names
        columns = [f"p_{name}" for name in names]
        table = read_table(path, ("path", *columns))
        row_of = {row.path: number for number, row in enumerate(self.split.rows)}
        if strange := [row["path"] for row in table if row["path"] not in row_of]:
            raise InputError(f"{path} has the picture {strange[0]}, which {self.directory.split} does not have.")
        rows = np.array([row_of[row["path"]] for row in table], np.int64)
        try:
            numbers = [[float(row[column]) for column in columns] for row in table]
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} has a probability that is no number: {error}.") from None
        probabilities = np.array(numbers, np.float32).reshape(len(table), len(names))
        predictions = Predictions(tuple(row["path"] for row in table), names, probabilities)
        return Answered(rows, self.split.truth()[rows], predictions)
