"""Images become predictions, batch by batch: a pure function of a model and a list of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from transfer_cli.data.decoding import batches
from transfer_cli.data.predictions import Predictions, writer
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.reject import Rejecting
from transfer_cli.io.atomic import written_whole
from transfer_cli.progress import SILENT, Progress


def predict(
    model: AbstractModel,
    paths: Iterable[str],
    *,
    batch_size: int = 32,
    strict: bool = False,
    rejecting: Rejecting | None = None,
) -> Iterator[Predictions]:
    """Yield the predictions for the images at `paths`, in order; memory does not grow with their number.

    Parameters
    ----------
    model : AbstractModel
    paths : iterable of str
        Files; may be endless.
    batch_size : int
    strict : bool
        Raise ImageError at the first file that cannot be read, rather than listing it as skipped.
    rejecting : Rejecting, optional
        What says of which images the model knows nothing.
    """
    names = model.class_names
    (size, resize), *others = (rejecting.model if rejecting else model).views
    for batch in batches(paths, size=size, resize=resize, others=others, batch_size=batch_size, strict=strict):
        empty = np.empty((0, len(names)), np.float32)
        unknown = None
        if rejecting is None or not batch.paths:
            probabilities = model.predict_views(batch.views) if batch.paths else empty
        else:
            probabilities, unknown = rejecting(batch.views)
        yield Predictions(
            batch.paths,
            names,
            probabilities,
            batch.skipped,
            model.thresholds,
            digests=batch.digests,
            unknown=unknown,
        )


def write_predictions(
    batches: Iterable[Predictions],
    target: Path | IO[bytes],
    format: str,
    class_names: Sequence[str],
    *,
    top_k: int | None = None,
    progress: Progress = SILENT,
) -> tuple[int, tuple[Skipped, ...]]:
    """Write predictions as they come; return how many rows there are and what was skipped.

    Parameters
    ----------
    batches : iterable of Predictions
    target : Path or binary file
        A path is written whole or not at all; an open file gets each batch at once.
    format : {"csv", "jsonl", "parquet", "table"}
    class_names : sequence of str
    top_k : int, optional
        The k best classes instead of every class's probability.
    progress : Progress

    Raises
    ------
    InputError
        When not one image could be read.
    OutputError
        When `target` cannot be written.
    """
    if isinstance(target, Path):
        with written_whole(target) as draft, draft.open("wb") as file:
            return write_predictions(batches, file, format, class_names, top_k=top_k, progress=progress)
    rows = 0
    skipped: list[Skipped] = []
    table = None
    with progress.track("predicting", None) as advance:
        for batch in batches:
            if batch.paths:
                # Not before there is a row: an error must not come after a header on stdout.
                table = table or writer(
                    format,
                    target,
                    class_names,
                    top_k,
                    several=batch.thresholds is not None,
                    rejects=batch.unknown is not None,
                )
                table.append(batch)
                target.flush()
            rows += len(batch.paths)
            skipped += batch.skipped
            advance(len(batch.paths) + len(batch.skipped))
    if table is None:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        found = f"none of the {len(skipped)} files could be read" if skipped else "there is no picture"
        raise InputError(f"Nothing was predicted: {found}. Expected pictures or folders of pictures.{reasons}")
    table.close()
    return rows, tuple(skipped)
