"""The pictures of a run that are most like new ones, as the run's network sees them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle import MANIFEST
from transfer_cli.engine.images import batches
from transfer_cli.engine.model import AbstractModel, FeatureModel
from transfer_cli.engine.nearest import nearest
from transfer_cli.engine.run_map import read_features
from transfer_cli.errors import InputError, ModelError, RunError
from transfer_cli.finished import FinishedRun
from transfer_cli.predictions import Skipped
from transfer_cli.split import SplitRow

ALL = "all"


@dataclass(frozen=True)
class Neighbour:
    """A picture of a run, and the cosine between its feature and that of another picture."""

    row: SplitRow
    cosine: float


@dataclass(frozen=True)
class Alike:
    """Some pictures, the nearest of the run to each, nearest first, and what could not be read in between."""

    paths: tuple[str, ...]
    neighbours: tuple[tuple[Neighbour, ...], ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """The pictures that are looked in.

    Attributes
    ----------
    rows : tuple of SplitRow
    features : ndarray of shape (n, width), float32
    root : Path
        What their paths are relative to.
    """

    rows: tuple[SplitRow, ...]
    features: NDArray[np.float32]
    root: Path

    @classmethod
    def of(cls, run: FinishedRun, part: str) -> Gallery:
        """Return the pictures of a part of a run, or of ``all``.

        Raises
        ------
        RunError
            When the run has no features.
        InputError
            When the part has no picture.
        """
        features = read_features(run)
        rows = np.flatnonzero([part in (ALL, row.part) for row in run.split.rows])
        if not len(rows):
            has = ", ".join(run.split.counts())
            raise InputError(f"{run.directory.path} has no picture in the part {part}. Expected one of {has}, {ALL}.")
        return cls(tuple(run.split.rows[row] for row in rows), features[rows], run.root)

    def alike(self, features: NDArray[np.float32], paths: Iterable[str], k: int) -> list[tuple[Neighbour, ...]]:
        """Return the `k` nearest to each feature, nearest first; the very file at one of `paths` is not its own."""
        indices, cosines = nearest(self.features, features, k + 1)
        found = []
        for path, columns, values in zip(paths, indices, cosines, strict=True):
            itself = os.path.realpath(path)
            others = [
                Neighbour(self.rows[column], float(value))
                for column, value in zip(columns, values, strict=True)
                if os.path.realpath(self.root / self.rows[column].path) != itself
            ]
            found.append(tuple(others[:k]))
        return found


def finished_run(path: Path) -> FinishedRun:
    """Return the run at `path`; raise RunError where it is a bundle, which has no pictures to look in."""
    if (path / MANIFEST).is_file() and not (path / "recipe.toml").is_file():
        of_run = path.resolve().parent
        here = (of_run / "recipe.toml").is_file()
        raise RunError(
            f"{path} is a bundle without its run: it has no features.parquet, and so no pictures to look in.",
            hint=f"Give the run: {of_run if here else 'the folder that its model/ was in'}",
        )
    return FinishedRun.read(path)


def similar(
    model: AbstractModel, gallery: Gallery, paths: Iterable[str], k: int, *, batch_size: int = 32, strict: bool = False
) -> Iterator[Alike]:
    """Yield the pictures of a gallery that are nearest to those at `paths`, in order, batch by batch.

    Parameters
    ----------
    model : AbstractModel
        Of the run that the gallery is of.
    gallery : Gallery
    paths : iterable of str
    k : int
        How many for each picture.
    batch_size : int
    strict : bool
        Raise ImageError at the first file that cannot be read.

    Raises
    ------
    ModelError
        When the model gives no features, or others than those of the gallery.
    """
    if not isinstance(model, FeatureModel):
        raise ModelError(
            "The model of this run gives no features: it was made by an earlier version.",
            hint="The run's own command makes it anew with --overwrite; the test pictures stay the same.",
        )
    for batch in batches(paths, size=model.image_size, resize=model.resize, batch_size=batch_size, strict=strict):
        found: list[tuple[Neighbour, ...]] = []
        if batch.paths:
            features = model.features(batch.images)
            if features.shape[1] != gallery.features.shape[1]:
                raise ModelError(
                    f"The model gives features of {features.shape[1]} numbers and features.parquet has "
                    f"{gallery.features.shape[1]}: they are not of one run."
                )
            found = gallery.alike(features, batch.paths, k)
        yield Alike(batch.paths, tuple(found), batch.skipped)
