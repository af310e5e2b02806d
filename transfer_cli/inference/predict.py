"""Predict images batch by batch: a pure function of a model and a list of files."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from transfer_cli.data.image_batches import ImageBatch, view_batches
from transfer_cli.data.image_inputs import ImageInputs, ImageItem, image_items, item_batches
from transfer_cli.data.predictions import Predictions, PredictionWriter, columns_of, writer_of
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.reject import Rejector
from transfer_cli.inference.restricted_classes import restrict
from transfer_cli.io.atomic import atomic_write
from transfer_cli.progress import SILENT, Progress

_LARGE_SIDE = 1024
"""Inputs with a longer side, in pixels, are rare, and are predicted in smaller batches."""
_LARGE_BATCH_BYTES = 1 << 26


def predict(
    model: AbstractModel,
    images: ImageInputs,
    *,
    batch_size: int = 32,
    strict: bool = False,
    rejector: Rejector | None = None,
    only: Iterable[str] = (),
    exclude: Iterable[str] = (),
    left_out: Counter[str] | None = None,
) -> Iterator[Predictions]:
    """Yield predictions for images, in order; memory use does not depend on their number.

    Parameters
    ----------
    model : AbstractModel
    images : path, folder, array, PIL image, or an iterable of these
        See `data.image_inputs`; a generator may be endless.
    batch_size : int
    strict : bool
        Raise ImageError at the first unreadable file instead of listing it as skipped.
    rejector : Rejector, optional
        Labels images as ``unknown``. It has a model of its own, which `restrict` may have restricted.
    only, exclude : iterable of str
        Classes to predict or to leave out; the probabilities of the others are renormalised (see
        restricted_classes.restrict).
    left_out : Counter, optional
        Gets the number of files in folders that are not images, by reason.

    Raises
    ------
    TypeError, ValueError
        At once, if `images` are of another type or shape, or if there are none.
    UnknownNameError, OptionError
        If the classes of `only` or `exclude` do not fit the model.
    """
    model = rejector.model if rejector else restrict(model, only=only, exclude=exclude)
    items = image_items(images, left_out)
    return predict_items(model, items, batch_size=batch_size, strict=strict, rejector=rejector)


def predict_items(
    model: AbstractModel,
    items: Iterable[ImageItem],
    *,
    batch_size: int = 32,
    strict: bool = False,
    rejector: Rejector | None = None,
) -> Iterator[Predictions]:
    """Yield predictions for what `image_items` yields; as `predict`."""
    model = rejector.model if rejector else model
    size = _batch_size(model.views, batch_size)
    return _predict_batches(model, item_batches(items, model.views, batch_size=size, strict=strict), rejector)


def predict_files(
    model: AbstractModel,
    paths: Iterable[str],
    *,
    batch_size: int = 32,
    strict: bool = False,
    rejector: Rejector | None = None,
    part_size: int | None = None,
) -> Iterator[Predictions]:
    """Yield predictions for files, in order; as `predict`, but a folder is a file that cannot be read.

    With `part_size`, a batch also ends after each multiple of this number of paths, so that each part gives the same
    bytes alone.
    """
    model = rejector.model if rejector else model
    size = _batch_size(model.views, batch_size)
    decoded = view_batches(paths, model.views, batch_size=size, strict=strict, part_size=part_size)
    return _predict_batches(model, decoded, rejector)


def _batch_size(views: Sequence[View], requested: int) -> int:
    if max(view.size for view in views) <= _LARGE_SIDE:
        return requested
    return max(1, min(requested, _LARGE_BATCH_BYTES // sum(3 * view.size**2 for view in views)))


def _predict_batches(
    model: AbstractModel, decoded: Iterable[ImageBatch], rejector: Rejector | None
) -> Iterator[Predictions]:
    template, start = without_images(model, rejects=rejector is not None), 0
    for batch in decoded:
        probabilities, reasons = template.probabilities, template.reject_reasons
        if batch.paths and rejector:
            probabilities, reasons = rejector(batch.views)
        elif batch.paths:
            probabilities = model.predict_views(batch.views)
        yield replace(
            template,
            paths=batch.paths,
            probabilities=probabilities,
            skipped=batch.skipped,
            digests=batch.digests,
            reject_reasons=reasons,
            skipped_at=_skipped_at(batch, start),
        )
        start += len(batch.paths) + len(batch.skipped)


def without_images(model: AbstractModel, *, rejects: bool) -> Predictions:
    """Return predictions of a model for no images; `rejects`: a rejector may label images as ``unknown``."""
    empty = np.empty((0, len(model.class_names)), np.float32)
    reasons = () if rejects else None
    return Predictions((), model.class_names, empty, (), model.thresholds, (), reasons, left_out=model.left_out)


def _skipped_at(batch: ImageBatch, start: int) -> tuple[int, ...]:
    """Return how many images of a batch, whose first path has the index `start`, are before each skipped file."""
    if not batch.skipped:
        return ()
    read = {*batch.indices}
    missing = (index for index in range(start, start + len(read) + len(batch.skipped)) if index not in read)
    return tuple(bisect(batch.indices, index) for index in missing)


def write_predictions(
    batches: Iterable[Predictions],
    target: Path | IO[bytes],
    format: str,
    *,
    top_k: int | None = None,
    progress: Progress = SILENT,
    in_place: bool = False,
    total: int | None = None,
) -> tuple[int, tuple[Skipped, ...]]:
    """Write predictions as they are computed; return the number of rows and the skipped files.

    Parameters
    ----------
    batches : iterable of Predictions
    target : Path or binary file
        A path is written atomically; an open file is flushed after each batch.
    format : {"csv", "jsonl", "parquet", "table", "xlsx", "excel-csv"}
    top_k : int, optional
        Write the k most probable classes instead of the probability of every class.
    progress : Progress
    in_place : bool
        Answer a file that cannot be read, too, with a row without a label in its place; that none could be read, or
        that there was none, is no error then.
    total : int, optional
        Number of files, if it is known.

    Raises
    ------
    InputError
        If no image could be read, unless `in_place`.
    OutputError
        If `target` cannot be written.
    """
    if isinstance(target, Path):
        with atomic_write(target) as draft, draft.open("wb") as file:
            return write_predictions(
                batches, file, format, top_k=top_k, progress=progress, in_place=in_place, total=total
            )
    rows = 0
    skipped: list[Skipped] = []
    with progress.track("predicting", total) as advance, _Table(target, format, top_k) as table:
        for batch in batches:
            if batch.paths or (in_place and batch.skipped):
                _append(table.writer(batch), batch, in_place)
                target.flush()
            rows += len(batch.paths)
            skipped += batch.skipped
            advance(len(batch.paths) + len(batch.skipped))
        if not rows and not in_place:
            raise _nothing_predicted(skipped)
    return rows, tuple(skipped)


def _nothing_predicted(skipped: Sequence[Skipped]) -> InputError:
    reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
    problem = "no image could be read" if skipped else "there are no images"
    return InputError(f"Nothing was predicted: {problem}. Expected image files or folders of images.{reasons}")


class _Table:
    """A table that begins with its first row, is closed at the end of the block, and abandoned after an error."""

    def __init__(self, target: IO[bytes], format: str, top_k: int | None) -> None:
        self._target, self._format, self._top_k = target, format, top_k
        self._writer: PredictionWriter | None = None

    def writer(self, batch: Predictions) -> PredictionWriter:
        """Return the writer; the header is written now: stdout stays empty if no image can be read."""
        if self._writer is None:
            self._writer = writer_of(self._format, self._target, columns_of(batch, self._top_k))
        return self._writer

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._writer is None:
            return
        if error is not None:
            self._writer.abandon()
            return
        try:
            self._writer.close()
        except BaseException:
            self._writer.abandon()
            raise


def _append(table: PredictionWriter, batch: Predictions, in_place: bool) -> None:
    """Write the rows of a batch, and if `in_place` a row for each skipped file between them."""
    written = 0
    for file, index in zip(batch.skipped, batch.skipped_at, strict=True) if in_place else ():
        table.append(batch[written:index])
        table.skip(file)
        written = index
    table.append(batch[written:])
