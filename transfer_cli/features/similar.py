"""Find the images of a run that are most similar to given images, by the features of the run's network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import check_type
from transfer_cli.data.image_batches import ImageBatch
from transfer_cli.data.image_inputs import ImageInputs, image_items, item_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import SplitRow
from transfer_cli.errors import InputError, ModelError
from transfer_cli.features import table
from transfer_cli.features.feature_network import FeatureNetwork
from transfer_cli.features.nearest import FeatureIndex, Neighbour
from transfer_cli.inference.models import AbstractModel
from transfer_cli.runs.completed_run import FinishedRun

ALL = "all"
_MIN_COSINE_OF_SAME_FILE = 0.99


@dataclass(frozen=True)
class SimilarImages:
    """A batch of query images with the nearest images of the run to each, and the files that could not be read."""

    paths: tuple[str, ...]
    neighbours: tuple[tuple[Neighbour, ...], ...]
    skipped: tuple[Skipped, ...] = ()


class SearchImages:
    """The images to search.

    Attributes
    ----------
    rows : tuple of SplitRow
    root : Path
        The image folder of the run.
    width : int
        Number of values per feature vector.
    """

    def __init__(self, rows: tuple[SplitRow, ...], root: Path, features: NDArray[np.float32]) -> None:
        self.rows, self.root, self.width = rows, root.absolute(), features.shape[1]
        self._index = FeatureIndex(features)

    @classmethod
    def of_run(cls, run: FinishedRun, part: str) -> SearchImages:
        """Return the images of one part of a run's split, or ``all``.

        Raises
        ------
        RunError
            If the run has no features.
        InputError
            If the part has no images.
        """
        matrix = table.features_of_run(run)
        if not run.split.is_labelled and part not in ("train", ALL):
            raise InputError(
                f"{run.directory.path} has images without labels, which are not split: there are no {part} images.",
                hint=f"Search all of them: --part {ALL}",
            )
        rows = np.flatnonzero([part in (ALL, row.part) for row in run.split.rows])
        if not len(rows):
            parts = ", ".join(run.split.counts())
            raise InputError(f"{run.directory.path} has no {part} images. Expected one of {parts}, or {ALL}.")
        return cls(tuple(run.split.rows[row] for row in rows), run.root, matrix[rows])

    def nearest(self, features: NDArray[np.float32], paths: Iterable[str], k: int) -> list[tuple[Neighbour, ...]]:
        """Return the `k` nearest images to each feature, nearest first, without the file at its own path."""
        indices, cosines = self._index.nearest(features, k + 1)
        neighbours = []
        for path, columns, values in zip(paths, indices, cosines, strict=True):
            near = (Neighbour(self.rows[column], float(value)) for column, value in zip(columns, values, strict=True))
            neighbours.append(tuple(other for other in near if not self._is_same_file(other, path))[:k])
        return neighbours

    def _is_same_file(self, near: Neighbour, path: str) -> bool:
        known = self.root / near.row.path
        # Links are resolved only if the features agree, since that needs several disk accesses.
        return known == Path(path).absolute() or (
            near.cosine > _MIN_COSINE_OF_SAME_FILE and os.path.realpath(known) == os.path.realpath(path)
        )


def similar(
    model: AbstractModel | FeatureNetwork,
    images: SearchImages,
    paths: ImageInputs,
    k: int,
    *,
    batch_size: int = 512,
    strict: bool = False,
) -> Iterator[SimilarImages]:
    """Yield the nearest images to those that are given, in order, batch by batch.

    Parameters
    ----------
    model : AbstractModel or FeatureNetwork
        The model of the run that is searched; of a run without a classifier `FeatureNetwork.of_run`.
    images : SearchImages
    paths : path, folder, array, PIL image, or an iterable of these
        See `data.image_inputs`.
    k : int
        Number of results per image.
    batch_size : int
    strict : bool
        Raise ImageError at the first unreadable file.

    Raises
    ------
    ModelError
        If the model has no features, or features of another width.
    """
    check_type(model, (AbstractModel, FeatureNetwork), "a loaded model: load(PATH)")
    check_type(images, SearchImages, "the images to search: SearchImages.of_run(FinishedRun.read(RUN), 'train')")
    items = image_items(paths)
    return _similar(model, images, item_batches(items, model.views[:1], batch_size=batch_size, strict=strict), k)


def _similar(
    model: AbstractModel | FeatureNetwork, images: SearchImages, decoded: Iterable[ImageBatch], k: int
) -> Iterator[SimilarImages]:
    for batch in decoded:
        neighbours: list[tuple[Neighbour, ...]] = []
        if batch.paths:
            features = model.features(batch.images)
            if features.shape[1] != images.width:
                raise ModelError(
                    f"The model has {features.shape[1]} features per image, but features.parquet has {images.width}: "
                    "they are not of the same run."
                )
            neighbours = images.nearest(features, batch.paths, k)
        yield SimilarImages(batch.paths, tuple(neighbours), batch.skipped)
