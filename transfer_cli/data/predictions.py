"""Paths and probabilities side by side, and the tables they are written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.skipped import Skipped
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.text import printable, utf8

FORMATS = ("csv", "jsonl", "parquet", "table")
UNKNOWN = "unknown"
"""The label of a picture that is rejected."""


@dataclass(frozen=True)
class Predictions:
    """One batch of predictions.

    Attributes
    ----------
    paths : tuple of str
        Of the n images, in input order.
    class_names : tuple of str
        The k classes, out of the bundle.
    probabilities : ndarray of shape (n, k), float32
        Row i belongs to path i, column j to class j.
    skipped : tuple of Skipped
        Files in between that could not be read.
    thresholds : tuple of float or None
        From which probability on a picture has a label, of a multi-label task.
    digests : tuple of str
        SHA-256 of each file, in hexadecimal, where it was read just now.
    unknown : tuple of str or None
        Why the model should not be asked about an image (see rejection), empty for one that it can judge; None where
        nothing is rejected.
    """

    paths: tuple[str, ...]
    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    skipped: tuple[Skipped, ...] = ()
    thresholds: tuple[float, ...] | None = None
    digests: tuple[str, ...] = ()
    unknown: tuple[str, ...] | None = None

    def labels(self) -> list[list[str]]:
        """Return the labels of each image of a multi-label task, in the order of the classes."""
        has = self.probabilities >= np.array(self.thresholds)
        return [[name for name, there in zip(self.class_names, row, strict=True) if there] for row in has]

    def rows(self, top_k: int) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Yield each path with its `top_k` most probable classes, best first."""
        # A stable sort of the negated row: equal probabilities keep the order of the classes.
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :top_k]
        for path, best, row in zip(self.paths, order, self.probabilities, strict=True):
            yield path, [(self.class_names[column], float(row[column])) for column in best]

    def why(self, index: int) -> str:
        """Return why an image is rejected, empty where it is not."""
        return self.unknown[index] if self.unknown else ""


class Writer(Protocol):
    """What takes predictions batch by batch and puts them into a table."""

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        """Add the rows of one batch; `truth` are their true classes where they are known."""

    def close(self) -> None:
        """Finish the table."""


@dataclass(frozen=True)
class Columns:
    """What a table of predictions has.

    Attributes
    ----------
    class_names : tuple of str
    top_k : int or None
        The best k classes instead of every class's probability.
    truth : bool
        Whether each batch comes with what is true.
    several : bool
        Whether a picture has any number of labels.
    rejects : bool
        Whether a label may be unknown: then what the model would say, and why it is not to be asked, stand beside it.
    """

    class_names: tuple[str, ...]
    top_k: int | None = None
    truth: bool = False
    several: bool = False
    rejects: bool = False

    def header(self) -> list[str]:
        """Return the column names.

        Examples
        --------
        >>> Columns(("cat", "dog")).header()
        ['path', 'label', 'confidence', 'p_cat', 'p_dog']
        >>> Columns(("cat", "dog"), 2).header()
        ['path', 'label', 'confidence', 'label_2', 'confidence_2']
        >>> Columns(("cat", "dog"), several=True).header()
        ['path', 'labels', 'p_cat', 'p_dog']
        >>> Columns(("cat", "dog"), rejects=True).header()
        ['path', 'label', 'confidence', 'guess', 'why', 'p_cat', 'p_dog']
        """
        columns = ["path", *(["class"] if self.truth else [])]
        if self.several and self.top_k is None:
            return [*columns, "labels", *(f"p_{name}" for name in self.class_names)]
        columns += ["label", "confidence", *(["guess", "why"] if self.rejects else [])]
        if self.top_k is None:
            # The prefix keeps a class called "label" from being taken for a column of ours.
            return [*columns, *(f"p_{name}" for name in self.class_names)]
        return [*columns, *(f"{word}_{rank}" for rank in range(2, self.top_k + 1) for word in ("label", "confidence"))]


def writer(
    format: str,
    target: IO[bytes],
    class_names: Sequence[str],
    top_k: int | None = None,
    *,
    truth: bool = False,
    several: bool = False,
    rejects: bool = False,
) -> Writer:
    """Return a writer of one of `FORMATS`.

    Parameters
    ----------
    format : {"csv", "jsonl", "parquet", "table"}
        ``table`` is lines for a person, with the best three classes unless `top_k` says otherwise.
    target : binary file
    class_names : sequence of str
    top_k : int, optional
        Write the best k classes instead of every class's probability.
    truth : bool
        Whether each batch comes with its true classes, written as the column ``class``.
    several : bool
        Whether a picture has any number of labels: these, parted by ``;``, instead of one class and its confidence.
    rejects : bool
        Whether a label may be ``unknown``: then ``guess`` is the class that the model would name, with its confidence,
        and ``why`` says what speaks against it.
    """
    top_k = min(top_k, len(class_names)) if top_k else None
    return _WRITERS[format](target, Columns(tuple(class_names), top_k, truth, several, rejects))


def _shown(probability: float) -> str:
    # Nine digits bring a float32 back exactly; a shorter spelling is used where it does too.
    return str(np.float32(probability))


class _Csv:
    def __init__(self, target: IO[bytes], columns: Columns) -> None:
        self._target, self._columns = target, columns
        target.write(csv_bytes([columns.header()]))

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        rows = []
        top_k = self._columns.top_k
        several = batch.labels() if self._columns.several and top_k is None else None
        for index, (path, best) in enumerate(batch.rows(top_k or 1)):
            row = [path, *([truth[index]] if truth else [])]
            if several is not None:
                row += [SEPARATOR.join(several[index]), *map(_shown, batch.probabilities[index])]
            else:
                (guess, confidence) = best[0]
                why = batch.why(index)
                row += [UNKNOWN if why else guess, _shown(confidence), *([guess, why] if self._columns.rejects else [])]
                row += (
                    map(_shown, batch.probabilities[index])
                    if top_k is None
                    else [text for label, confidence in best[1:] for text in (label, _shown(confidence))]
                )
            rows.append(row)
        self._target.write(csv_bytes(rows))

    def close(self) -> None:
        self._target.flush()


class _Jsonl:
    def __init__(self, target: IO[bytes], columns: Columns) -> None:
        self._target, self._several, self._rejects = target, columns.several, columns.rejects
        self._top_k = columns.top_k or len(columns.class_names)
        self._ranked = columns.top_k is not None

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        several = batch.labels() if self._several else None
        for index, (path, best) in enumerate(batch.rows(self._top_k)):
            label, confidence = best[0]
            of_each = dict(best if self._ranked else zip(batch.class_names, _floats(batch, index), strict=True))
            row: dict[str, Any] = {"path": path}
            if truth:
                row["class"] = truth[index]
            if several is None:
                why = batch.why(index)
                row |= {"label": UNKNOWN if why else label, "confidence": float(_shown(confidence))}
                row |= {"guess": label, "why": why} if self._rejects else {}
            else:
                row["labels"] = several[index]
            row["probabilities"] = {name: float(_shown(value)) for name, value in of_each.items()}
            self._target.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n")

    def close(self) -> None:
        self._target.flush()


def _floats(batch: Predictions, index: int) -> list[float]:
    return [float(value) for value in batch.probabilities[index]]


class _Parquet:
    def __init__(self, target: IO[bytes], columns: Columns) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._columns = columns
        numeric = ("confidence", "p_")
        self._schema = pa.schema(
            [(column, pa.float32() if column.startswith(numeric) else pa.string()) for column in columns.header()]
        )
        self._writer = pq.ParquetWriter(target, self._schema)

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        import pyarrow as pa

        top_k = self._columns.top_k
        columns: list[Any] = [[utf8(path) for path in batch.paths]]
        if self._columns.truth:
            columns.append(list(truth or ()))
        if self._columns.several and top_k is None:
            columns.append([SEPARATOR.join(labels) for labels in batch.labels()])
        else:
            ranked = [best for _, best in batch.rows(top_k or 1)]
            for rank in range(top_k or 1):
                named = [best[rank][0] for best in ranked]
                if not rank:
                    named = [UNKNOWN if batch.why(index) else name for index, name in enumerate(named)]
                columns.append(named)
                columns.append(np.array([best[rank][1] for best in ranked], np.float32))
                if self._columns.rejects and not rank:
                    columns += [[best[0][0] for best in ranked], [batch.why(index) for index in range(len(ranked))]]
        if top_k is None:
            columns.extend(batch.probabilities.T)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Table:
    def __init__(self, target: IO[bytes], columns: Columns) -> None:
        self._target, self._columns = target, columns
        self._name_width = max(map(len, columns.class_names))

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        paths = {path: printable(path).replace("\n", "\\n") for path in batch.paths}
        path_width = max(map(len, paths.values()), default=0)
        several = self._columns.several and self._columns.top_k is None
        has = [set(labels) for labels in batch.labels()] if several else []
        count = len(batch.class_names) if several else self._columns.top_k or 3
        for index, (path, best) in enumerate(batch.rows(count)):
            shown = [each for each in best if each[0] in has[index]] if several else best
            ranked = "  ".join(f"{printable(name):{self._name_width}} {value:6.1%}" for name, value in shown) or "-"
            ranked = f"{UNKNOWN} ({batch.why(index)}):  {ranked}" if batch.why(index) else ranked
            self._target.write(f"{paths[path]:{path_width}}  {ranked}\n".encode())

    def close(self) -> None:
        self._target.flush()


_WRITERS: dict[str, Callable[[IO[bytes], Columns], Writer]] = {
    "csv": _Csv,
    "jsonl": _Jsonl,
    "parquet": _Parquet,
    "table": _Table,
}
