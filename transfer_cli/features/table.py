"""The table of features of an image folder, features.parquet; written and read in bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.data.csv_manifest import SEPARATOR, SPLIT_COLUMN
from transfer_cli.data.image_batches import ImageBatch
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import atomic_write
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.text import utf8

_ROWS_PER_GROUP = 1024
_TEXTS = ("path", "sha256", "class", SPLIT_COLUMN)
"""The columns before the features; images without labels have the first two."""


@dataclass(frozen=True)
class ExtractionResult:
    """The result of a feature extraction, without the features, which are on disk.

    Attributes
    ----------
    indices : tuple of int
        Position in the folder of each readable image.
    digests : tuple of str
        SHA-256 of each.
    skipped : tuple of Skipped
    """

    indices: tuple[int, ...]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def write_features(
    target: Path,
    batches: Iterable[ImageBatch],
    rows: Callable[[ImageBatch], NDArray[np.float32]],
    folder: ImageFolder,
    *,
    width: int,
    advance: Callable[[int], None],
) -> ExtractionResult:
    """Write the features of all images to the Parquet file `target`, batch by batch.

    The split depends on which images are readable, so its column is added later (see `add_split_column`).

    Parameters
    ----------
    target : Path
    batches : iterable of ImageBatch
    rows : callable
        Returns the features of a batch, float32 of shape (n, width).
    folder : ImageFolder
    width : int
    advance : callable
        Called with the number of images processed.
    """
    indices: list[int] = []
    digests: list[str] = []
    skipped: list[Skipped] = []
    texts = _TEXTS[: 3 if folder.is_labelled else 2]
    with _open_table(target, texts, width) as append:
        for batch in batches:
            if batch.indices:
                labels = [utf8(SEPARATOR.join(folder.files[index].labels)) for index in batch.indices]
                columns = [[utf8(path) for path in batch.paths], batch.digests, labels]
                append([*columns[: len(texts)], _column(rows(batch))])
            indices += batch.indices
            digests += batch.digests
            skipped += batch.skipped
            advance(len(batch.indices) + len(batch.skipped))
    return ExtractionResult(tuple(indices), tuple(digests), tuple(skipped))


def add_split_column(source: Path, target: Path, split: Split, width: int) -> None:
    """Copy the table `source` to `target`, with a column for the train/val/test split if the images are labelled."""
    if not split.is_labelled:
        shutil.copyfile(source, target)
        return
    parts = iter([row.part for row in split.rows])
    with _open_table(target, _TEXTS, width) as append:
        for group in pq.ParquetFile(source).iter_batches(_ROWS_PER_GROUP):
            *texts, features = group.columns
            append([*texts, list(islice(parts, group.num_rows)), features])


def write(target: Path, split: Split, features: NDArray[np.float32]) -> None:
    """Write the features of all images of a split, float32 of shape (n, width), in the order of the split."""
    with atomic_write(target) as draft, _open_table(draft, _TEXTS, features.shape[1]) as append:
        for start in range(0, len(split.rows), _ROWS_PER_GROUP):
            rows = split.rows[start : start + _ROWS_PER_GROUP]
            texts = [[utf8(row.path) for row in rows], [row.sha256 for row in rows]]
            texts += [[utf8(row.truth) for row in rows], [row.part for row in rows]]
            append([*texts, _column(features[start : start + _ROWS_PER_GROUP])])


def read(path: Path) -> NDArray[np.float32]:
    """Return the features of a table, float32 of shape (n, width), in the order of the split."""
    file = pq.ParquetFile(path)
    features = np.empty((file.metadata.num_rows, file.schema_arrow.field("feature").type.list_size), np.float32)
    row = 0
    for group in file.iter_batches(_ROWS_PER_GROUP, columns=["feature"]):
        features[row : row + group.num_rows] = group.column("feature").flatten().to_numpy().reshape(group.num_rows, -1)
        row += group.num_rows
    return features


def features_of_run(run: FinishedRun) -> NDArray[np.float32]:
    """Return the features of a run in the order of its split.

    Raises
    ------
    RunError
        If the run has none, or they cannot be read, or do not match the split.
    """
    path = run.directory.features
    if not path.is_file() and run.recipe.get("method") == ENSEMBLE:
        members = ", ".join(str(member["run"]) for member in run.recipe.get("member", ()))
        raise RunError(
            f"{run.directory.path} is an ensemble, which has no features of its own. Its members have: {members}.",
            hint="Use the run of a member instead; all members have the same images.",
        )
    problem, images = f"The run {run.directory.path} has no {path.name}.", len(run.split.rows)
    if path.is_file():
        try:
            matrix = read(path)
        except (OSError, ValueError, KeyError) as error:
            problem = f"{path} cannot be read: {error}."
        else:
            if len(matrix) == images:
                return matrix
            problem = f"{path} has the features of {len(matrix)} images, but {run.directory.split} lists {images}."
    again = f"Run the command in {run.directory.command} again with --overwrite; it keeps the split."
    raise RunError(problem, hint=again)


def _column(features: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(features).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, features.shape[1])


@contextmanager
def _open_table(target: Path, texts: Sequence[str], width: int) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield what appends a batch to a Parquet file whose row groups contain many: one row group each would be slow."""
    schema = pa.schema([*((name, pa.string()) for name in texts), ("feature", pa.list_(pa.float32(), width))])
    # Features hardly repeat: dictionary encoding and compression would only cost time.
    encoded = [name for name in ("class", SPLIT_COLUMN) if name in texts]
    compression = dict.fromkeys(texts, "snappy") | {"feature.list.element": "none"}
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(target, schema, use_dictionary=encoded, compression=compression) as writer:

        def write() -> None:
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting).combine_chunks())
                waiting.clear()

        def append(columns: Sequence[Any]) -> None:
            arrays = [
                column if isinstance(column, pa.Array) else pa.array(column, field.type)
                for column, field in zip(columns, schema, strict=True)
            ]
            waiting.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if sum(batch.num_rows for batch in waiting) >= _ROWS_PER_GROUP:
                write()

        yield append
        write()
