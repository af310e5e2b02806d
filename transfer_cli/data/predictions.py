"""The tables that predictions are written to: CSV, JSON Lines, Parquet, Excel and text for a terminal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any

import numpy as np

from transfer_cli.data.prediction_columns import DIGEST, LEFT_OUT, PredictionColumns
from transfer_cli.data.prediction_columns import TRUE_LABEL as TRUE_LABEL
from transfer_cli.data.prediction_columns import UNKNOWN as UNKNOWN
from transfer_cli.data.prediction_result import Predictions as Predictions
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.table_columns import SEPARATOR
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.io.excel_csv import ExcelCsv
from transfer_cli.io.workbook import Workbook
from transfer_cli.text import printable, shortened, utf8, valid_json

FORMATS = ("csv", "jsonl", "parquet", "table")
WORKBOOK = "xlsx"
"""Format of an Excel workbook, which needs an extra."""
EXCEL_CSV = "excel-csv"
"""Format of a CSV file that Excel opens as a table, by the settings of the locale."""

_SHOWN = 3
"""Number of classes in a text for people, unless another one is asked for."""
_LEAST_PATH = 12
"""A path in a text for people is not cut below this number of characters."""


def columns_of(batch: Predictions, top_k: int | None = None, *, with_digest: bool = False) -> PredictionColumns:
    """Return the columns of a table of predictions such as those of `batch`."""
    names = batch.class_names
    return PredictionColumns(
        names,
        min(top_k, len(names)) if top_k else None,
        multi_label=batch.thresholds is not None,
        with_rejection=batch.reject_reasons is not None,
        left_out=batch.left_out,
        with_digest=with_digest,
    )


def _values(table: PredictionColumns, batch: Predictions, truth: Sequence[str] | None) -> list[Any]:
    """Return the values of each column of `table`: lists of str, or arrays of float32."""
    columns: list[Any] = [batch.paths]
    if table.truth:
        columns.append(list(truth or ()))
    if table.joins_labels:
        columns.append([SEPARATOR.join(labels) for labels in batch.label_lists()])
    else:
        ranked = [best for _, best in batch.rows(table.top_k or 1)]
        reasons = batch.reasons()
        for rank in range(table.top_k or 1):
            names = [best[rank][0] for best in ranked]
            columns += [names, np.array([best[rank][1] for best in ranked], np.float32)]
            if not rank:
                columns[-2] = [UNKNOWN if reason else name for name, reason in zip(names, reasons, strict=True)]
                columns += [names, reasons] if table.with_rejection else []
    if table.top_k is None:
        columns.extend(batch.probabilities.T)
    columns += [[table.left_out_text] * len(batch.paths)] if table.left_out else []
    return [*columns, *([batch.digests] if table.with_digest else [])]


class PredictionWriter:
    """Writes predictions batch by batch to a table."""

    def __init__(self, target: IO[bytes], columns: PredictionColumns) -> None:
        self._target, self._columns = target, columns

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        """Add the rows of one batch; `truth` are the true labels if they are known."""
        raise NotImplementedError

    def skip(self, file: Skipped) -> None:
        """Answer a file that could not be read, in its place among the images, where the format can hold that."""

    def close(self) -> None:
        """Finish the table."""
        self._target.flush()

    def abandon(self) -> None:
        """Give the table up after an error: nothing more is written to it."""


def writer_of(format: str, target: IO[bytes], columns: PredictionColumns) -> PredictionWriter:
    """Return a writer of one of `FORMATS`, `WORKBOOK` or `EXCEL_CSV`."""
    return _WRITERS[format](target, columns)


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
        values = _values(self._columns, batch, truth)
        # Float32 is written as the shortest text that is read back as the same number.
        cells = [map(str, column.astype(np.float32)) if isinstance(column, np.ndarray) else column for column in values]
        self._target.write(csv_bytes(zip(*cells, strict=True)))

    def skip(self, file: Skipped) -> None:
        self._target.write(csv_bytes([[file.path, *[""] * (len(self._columns.header()) - 1)]]))


class _SheetWriter(PredictionWriter):
    def __init__(self, target: IO[bytes], columns: PredictionColumns, sheet: type[ExcelCsv | Workbook]) -> None:
        super().__init__(target, columns)
        self._sheet = sheet(target)
        self._sheet.append(columns.header())

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        for row in zip(*_values(self._columns, batch, truth), strict=True):
            self._sheet.append([utf8(cell) if isinstance(cell, str) else _shortest(cell) for cell in row])

    def skip(self, file: Skipped) -> None:
        self._sheet.append([utf8(file.path), *[""] * (len(self._columns.header()) - 1)])

    def close(self) -> None:
        self._sheet.close()

    def abandon(self) -> None:
        if isinstance(self._sheet, Workbook):
            self._sheet.discard()


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
            row |= {LEFT_OUT: list(self._columns.left_out)} if self._columns.left_out else {}
            row |= {DIGEST: batch.digests[index]} if self._columns.with_digest else {}
            self._write(row)

    def skip(self, file: Skipped) -> None:
        self._write({"path": file.path, "error": file.reason})

    def _write(self, row: Mapping[str, Any]) -> None:
        self._target.write(valid_json(json.dumps(row, ensure_ascii=False)).encode() + b"\n")


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

        paths, *values = _values(self._columns, batch, truth)
        columns = [[utf8(path) for path in paths], *values]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        # Its destructor would write the end of the table to a file that is closed by then.
        self._writer.is_open = False


class _TextWriter(PredictionWriter):
    """Text for people; on a terminal that is too narrow, long paths are cut and the least likely classes left out."""

    def __init__(self, target: IO[bytes], columns: PredictionColumns) -> None:
        super().__init__(target, columns)
        self._width = shutil.get_terminal_size().columns if target.isatty() else None

    def append(self, batch: Predictions, truth: Sequence[str] | None = None) -> None:
        paths = [printable(path).replace("\n", "\\n") for path in batch.paths]
        rows = [*self._classes(batch)]
        heads = [f"{UNKNOWN} ({reason}):" if reason else "" for reason in batch.reasons()]
        shown = batch.class_names if self._width is None else [name for classes in rows for name, _ in classes]
        name_width = max(map(len, map(printable, shown)), default=0)
        path_width, count = self._fit(max(map(len, paths), default=0), max(map(len, heads), default=0), name_width)
        for path, head, classes in zip(paths, heads, rows, strict=True):
            cells = [f"{printable(name):{name_width}} {value:6.1%}" for name, value in classes[:count]] or ["-"]
            line = [f"{shortened(path, path_width):{path_width}}", *([head] if head else []), *cells]
            self._target.write(f"{self._folded(line)}\n".encode())

    def _classes(self, batch: Predictions) -> Iterator[list[tuple[str, float]]]:
        """Yield the classes and probabilities to show for each image."""
        if not self._columns.joins_labels:
            yield from (best for _, best in batch.rows(self._columns.top_k or _SHOWN))
            return
        for (_, best), labels in zip(batch.rows(len(batch.class_names)), batch.label_lists(), strict=True):
            yield [each for each in best if each[0] in labels]

    def _fit(self, path_width: int, head_width: int, name_width: int) -> tuple[int, int | None]:
        """Return the width of the paths, and the number of classes to show if the terminal limits it."""
        if self._width is None:
            return path_width, None
        cell = name_width + len("   100.0%")
        free = self._width - (head_width + 2 if head_width else 0)
        is_limited = self._columns.top_k is None and not self._columns.joins_labels
        count = min(_SHOWN, max(1, (free - path_width) // cell)) if is_limited else None
        return min(path_width, max(_LEAST_PATH, free - cell * (count or 1))), count

    def _folded(self, cells: Sequence[str]) -> str:
        """Return the cells as one line, or as several if the terminal is too narrow."""
        first, *others = cells
        lines = [first]
        for cell in others:
            is_full = self._width is not None and len(lines[-1]) + 2 + len(cell) > self._width
            lines += [f"    {cell}"] if is_full else []
            lines[-1] = lines[-1] if is_full else f"{lines[-1]}  {cell}"
        return "\n".join(line.rstrip() if self._width else line for line in lines)

    def skip(self, file: Skipped) -> None:
        path = printable(file.path).replace("\n", "\\n")
        self._target.write(f"{path}  could not be read: {printable(file.reason)}\n".encode())


_WRITERS: dict[str, Callable[[IO[bytes], PredictionColumns], PredictionWriter]] = {
    "csv": _CsvWriter,
    "jsonl": _JsonlWriter,
    "parquet": _ParquetWriter,
    "table": _TextWriter,
    WORKBOOK: partial(_SheetWriter, sheet=Workbook),
    EXCEL_CSV: partial(_SheetWriter, sheet=ExcelCsv),
}
