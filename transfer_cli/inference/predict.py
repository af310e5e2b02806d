"""Predict images batch by batch: a pure function of a model and a list of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from transfer_cli.data.image_batches import ImageBatch, view_batches
from transfer_cli.data.image_inputs import ImageInputs, ImageItem, image_items, item_batches
from transfer_cli.data.predictions import Predictions, open_writer
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.reject import Rejector
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
        Labels images as ``unknown``.
    left_out : Counter, optional
        Gets the number of files in folders that are not images, by reason.

    Raises
    ------
    TypeError, ValueError
        At once, if `images` are of another type or shape, or if there are none.
    """
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
    views = (rejector.model if rejector else model).views
    decoded = item_batches(items, views, batch_size=_batch_size(views, batch_size), strict=strict)
    return _predict_batches(model, decoded, rejector)


def predict_files(
    model: AbstractModel, paths: Iterable[str], *, batch_size: int = 32, strict: bool = False
) -> Iterator[Predictions]:
    """Yield predictions for files, in order; as `predict`, but a folder is a file that cannot be read."""
    size = _batch_size(model.views, batch_size)
    return _predict_batches(model, view_batches(paths, model.views, batch_size=size, strict=strict), None)


def _batch_size(views: Sequence[View], requested: int) -> int:
    if max(view.size for view in views) <= _LARGE_SIDE:
        return requested
    return max(1, min(requested, _LARGE_BATCH_BYTES // sum(3 * view.size**2 for view in views)))


def _predict_batches(
    model: AbstractModel, decoded: Iterable[ImageBatch], rejector: Rejector | None
) -> Iterator[Predictions]:
    names, limits = model.class_names, model.thresholds
    for batch in decoded:
        probabilities, reasons = np.empty((0, len(names)), np.float32), None
        if batch.paths and rejector:
            probabilities, reasons = rejector(batch.views)
        elif batch.paths:
            probabilities = model.predict_views(batch.views)
        elif rejector:
            reasons = ()
        yield Predictions(
            batch.paths, names, probabilities, batch.skipped, limits, batch.digests, reject_reasons=reasons
        )


def write_predictions(
    batches: Iterable[Predictions],
    target: Path | IO[bytes],
    format: str,
    class_names: Sequence[str],
    *,
    top_k: int | None = None,
    progress: Progress = SILENT,
    total: int | None = None,
) -> tuple[int, tuple[Skipped, ...]]:
    """Write predictions as they are computed; return the number of rows and the skipped files.

    Parameters
    ----------
    batches : iterable of Predictions
    target : Path or binary file
        A path is written atomically; an open file is flushed after each batch.
    format : {"csv", "jsonl", "parquet", "table"}
    class_names : sequence of str
    top_k : int, optional
        Write the k most probable classes instead of the probability of every class.
    progress : Progress
    total : int, optional
        Number of images, if it is known, for the progress.

    Raises
    ------
    InputError
        If no image could be read.
    OutputError
        If `target` cannot be written.
    """
    if isinstance(target, Path):
        with atomic_write(target) as draft, draft.open("wb") as file:
            return write_predictions(batches, file, format, class_names, top_k=top_k, progress=progress, total=total)
    rows = 0
    skipped: list[Skipped] = []
    table = None
    with progress.track("predicting", total) as advance:
        for batch in batches:
            if batch.paths:
                # The header is written with the first row: stdout stays empty if no image can be read.
                multi_label, rejects = batch.thresholds is not None, batch.reject_reasons is not None
                table = table or open_writer(
                    format, target, class_names, top_k, multi_label=multi_label, with_rejection=rejects
                )
                table.append(batch)
                target.flush()
            rows += len(batch.paths)
            skipped += batch.skipped
            advance(len(batch.paths) + len(batch.skipped))
    if table is None:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        problem = "no image could be read" if skipped else "there are no images"
        raise InputError(f"Nothing was predicted: {problem}. Expected image files or folders of images.{reasons}")
    table.close()
    return rows, tuple(skipped)
