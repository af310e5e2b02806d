"""The tables that predictions are written to: CSV, JSON Lines, Parquet and text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from transfer_cli.data.prediction_result import UNKNOWN as UNKNOWN
from transfer_cli.data.prediction_result import Predictions as Predictions
from transfer_cli.data.table_columns import SEPARATOR
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.text import printable, utf8

FORMATS = ("csv", "jsonl", "parquet", "table")
TRUE_LABEL = "true_label"
"""Column of the true class or labels."""


@dataclass(frozen=True)
class PredictionColumns:
    """The columns of a table of predictions.

    Attributes
    ----------
    class_names : tuple of str
    top_k : int or None
        Only the k most likely classes, instead of the probability of every class.
    truth : bool
        Add the column ``true_label``.
    multi_label : bool
        An image has any number of labels: a column ``labels`` instead of ``label`` and ``confidence``.
    with_rejection : bool
        A label may be ``unknown``: add the columns ``guess`` (the most likely class) and ``reason``.
    """

    class_names: tuple[str, ...]
    top_k: int | None = None
    truth: bool = False
    multi_label: bool = False
    with_rejection: bool = False

    @property
    def joins_labels(self) -> bool:
        """Whether all labels of an image are in one column."""
        return self.multi_label and self.top_k is None

    def header(self) -> list[str]:
        """Return the column names.

        Examples
        --------
        >>> PredictionColumns(("cat", "dog")).header()
        ['path', 'label', 'confidence', 'p_cat', 'p_dog']
        >>> PredictionColumns(("cat", "dog"), 2).header()
        ['path', 'label', 'confidence', 'label_2', 'confidence_2']
        >>> PredictionColumns(("cat", "dog"), multi_label=True).header()
        ['path', 'labels', 'p_cat', 'p_dog']
        >>> PredictionColumns(("cat", "dog"), with_rejection=True).header()
        ['path', 'label', 'confidence', 'guess', 'reason', 'p_cat', 'p_dog']
        """
        columns = ["path", *([TRUE_LABEL] if self.truth else [])]
        if self.joins_labels:
            columns.append("labels")
        else:
            columns += ["label", "confidence", *(["guess", "reason"] if self.with_rejection else [])]
        if self.top_k is None:
            # The prefix distinguishes a class called "label" from our own column.
            return [*columns, *(f"p_{name}" for name in self.class_names)]
        return [*columns, *(f"{name}_{rank}" for rank in range(2, self.top_k + 1) for name in ("label", "confidence"))]

    def values(self, batch: Predictions, truth: Sequence[str] | None) -> list[Any]:
        """Return the values of each column: lists of str, or arrays of float32."""
        columns: list[Any] = [batch.paths]
        if self.truth:
            columns.append(list(truth or ()))
        if self.joins_labels:
            columns.append([SEPARATOR.join(labels) for labels in batch.label_lists()])
        else:
            ranked = [best for _, best in batch.rows(self.top_k or 1)]
            reasons = batch.reasons()
            for rank in range(self.top_k or 1):
                names = [best[rank][0] for best in ranked]
                columns += [names, np.array([best[rank][1] for best in ranked], np.float32)]
                if not rank:
                    columns[-2] = [UNKNOWN if reason else name for name, reason in zip(names, reasons, strict=True)]
                    columns += [names, reasons] if self.with_rejection else []
        if self.top_k is None:
            columns.extend(batch.probabilities.T)
        return columns


class PredictionWriter:
    """Writes predictions batch by batch to a table."""

    def __init__(self, target: IO[bytes], columns: PredictionColumns) -> None:
        self._target, self._columns = target, columns

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        """Add the rows of one batch; `truth` are the true labels if they are known."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the table."""
        self._target.flush()


def open_writer(
    format: str,
    target: IO[bytes],
    class_names: Sequence[str],
    top_k: int | None = None,
    *,
    truth: bool = False,
    multi_label: bool = False,
    with_rejection: bool = False,
) -> PredictionWriter:
    """Return a writer of one of `FORMATS`; the other parameters are those of `PredictionColumns`.

    The format ``table`` is text for a terminal, with the three most likely classes unless `top_k` is given.
    """
    top_k = min(top_k, len(class_names)) if top_k else None
    return _WRITERS[format](target, PredictionColumns(tuple(class_names), top_k, truth, multi_label, with_rejection))


class _CsvWriter(PredictionWriter):
    def __init__(self, target: IO[bytes], columns: PredictionColumns) -> None:
        super().__init__(target, columns)
        target.write(csv_bytes([columns.header()]))

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        values = self._columns.values(batch, truth)
        # Float32 is written as the shortest text that is read back as the same number.
        cells = [map(str, column.astype(np.float32)) if isinstance(column, np.ndarray) else column for column in values]
        self._target.write(csv_bytes(zip(*cells, strict=True)))


class _JsonlWriter(PredictionWriter):
    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        ranked = self._columns.top_k is not None
        labels = batch.label_lists() if self._columns.multi_label else None
        rows = batch.rows(self._columns.top_k or len(batch.class_names))
        for index, ((path, best), reason) in enumerate(zip(rows, batch.reasons(), strict=True)):
            label, confidence = best[0]
            row: dict[str, Any] = {"path": path}
            if truth:
                row[TRUE_LABEL] = truth[index]
            if labels is None:
                row |= {"label": UNKNOWN if reason else label, "confidence": _shortest(confidence)}
                row |= {"guess": label, "reason": reason} if self._columns.with_rejection else {}
            else:
                row["labels"] = labels[index]
            classes = best if ranked else zip(batch.class_names, batch.probabilities[index], strict=True)
            row["probabilities"] = {name: _shortest(value) for name, value in classes}
            self._target.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n")


def _shortest(value: Any) -> float:
    return float(str(np.float32(value)))


class _ParquetWriter(PredictionWriter):
    def __init__(self, target: IO[bytes], columns: PredictionColumns) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(target, columns)
        numeric = ("confidence", "p_")
        self._schema = pa.schema(
            [(column, pa.float32() if column.startswith(numeric) else pa.string()) for column in columns.header()]
        )
        self._writer = pq.ParquetWriter(target, self._schema)

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        import pyarrow as pa

        paths, *values = self._columns.values(batch, truth)
        columns = [[utf8(path) for path in paths], *values]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _TextWriter(PredictionWriter):
    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        paths = [printable(path).replace("\n", "\\n") for path in batch.paths]
        path_width = max(map(len, paths), default=0)
        name_width = max(map(len, batch.class_names))
        joined = self._columns.joins_labels
        has = [set(labels) for labels in batch.label_lists()] if joined else []
        count = len(batch.class_names) if joined else self._columns.top_k or 3
        for index, ((_, best), reason) in enumerate(zip(batch.rows(count), batch.reasons(), strict=True)):
            classes = [each for each in best if each[0] in has[index]] if joined else best
            text = "  ".join(f"{printable(name):{name_width}} {value:6.1%}" for name, value in classes) or "-"
            text = f"{UNKNOWN} ({reason}):  {text}" if reason else text
            self._target.write(f"{paths[index]:{path_width}}  {text}\n".encode())


_WRITERS: dict[str, Callable[[IO[bytes], PredictionColumns], PredictionWriter]] = {
    "csv": _CsvWriter,
    "jsonl": _JsonlWriter,
    "parquet": _ParquetWriter,
    "table": _TextWriter,
}
