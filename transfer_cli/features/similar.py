"""The pictures of a run that are most like new ones, as the run's network sees them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.decoding import batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError, ModelError
from transfer_cli.features import table
from transfer_cli.features.nearest import Gallery, Neighbour
from transfer_cli.inference.models import AbstractModel, FeatureModel
from transfer_cli.runs.completed_run import FinishedRun

ALL = "all"
_MAY_BE_ONE = 0.99


@dataclass(frozen=True)
class Alike:
    """Some pictures, the nearest of the run to each, nearest first, and what could not be read in between."""

    paths: tuple[str, ...]
    neighbours: tuple[tuple[Neighbour, ...], ...]
    skipped: tuple[Skipped, ...] = ()


class Pictures:
    """The pictures that are looked in: those of a part of a run, or of ``all``.

    Attributes
    ----------
    rows : tuple of SplitRow
    width : int
        How many numbers a feature has.

    Parameters
    ----------
    run : FinishedRun
    part : str

    Raises
    ------
    RunError
        When the run has no features.
    InputError
        When the part has no picture.
    """

    def __init__(self, run: FinishedRun, part: str) -> None:
        matrix = table.of_run(run)
        rows = np.flatnonzero([part in (ALL, row.part) for row in run.split.rows])
        if not len(rows):
            has = ", ".join(run.split.counts())
            raise InputError(f"{run.directory.path} has no picture in the part {part}. Expected one of {has}, {ALL}.")
        self.rows = tuple(run.split.rows[row] for row in rows)
        self.width = matrix.shape[1]
        self._gallery = Gallery(matrix[rows])
        self._root = run.root.absolute()

    def alike(self, features: NDArray[np.float32], paths: Iterable[str], k: int) -> list[tuple[Neighbour, ...]]:
        """Return the `k` nearest to each feature, nearest first; the very file at one of `paths` is not its own."""
        indices, cosines = self._gallery.nearest(features, k + 1)
        found = []
        for path, columns, values in zip(paths, indices, cosines, strict=True):
            near = (Neighbour(self.rows[column], float(value)) for column, value in zip(columns, values, strict=True))
            found.append(tuple(other for other in near if not self._is(other, path))[:k])
        return found

    def _is(self, near: Neighbour, path: str) -> bool:
        known = self._root / near.row.path
        # Links are followed only where the features agree, as those of one file do: it asks the disk many times.
        return known == Path(path).absolute() or (
            near.cosine > _MAY_BE_ONE and os.path.realpath(known) == os.path.realpath(path)
        )


def similar(
    model: AbstractModel,
    gallery: Pictures,
    paths: Iterable[str],
    k: int,
    *,
    batch_size: int = 512,
    strict: bool = False,
) -> Iterator[Alike]:
    """Yield the pictures of a gallery that are nearest to those at `paths`, in order, batch by batch.

    Parameters
    ----------
    model : AbstractModel
        Of the run that the gallery is of.
    gallery : Pictures
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
            seen = model.features(batch.images)
            if seen.shape[1] != gallery.width:
                raise ModelError(
                    f"The model gives features of {seen.shape[1]} numbers and features.parquet has "
                    f"{gallery.width}: they are not of one run."
                )
            found = gallery.alike(seen, batch.paths, k)
        yield Alike(batch.paths, tuple(found), batch.skipped)
