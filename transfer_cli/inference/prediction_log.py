"""A table of predictions that grows for days: rows are appended at once, and each image has one, by its digest."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from transfer_cli.data.prediction_columns import DIGEST, PredictionColumns
from transfer_cli.data.predictions import Predictions, writer_of
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import atomic_write, write_error

FORMATS = ("csv", "jsonl")
_JSON_START = b'{"path": "'
_SHA256 = re.compile("[0-9a-f]{64}")


class PredictionLog:
    """A CSV or JSON Lines file with the SHA-256 of each image in its last column.

    A line that a kill or a power cut left unfinished is removed when the file is opened.

    Parameters
    ----------
    path : Path
        Need not exist.
    format : {"csv", "jsonl"}
    columns : PredictionColumns
        With the digest.

    Attributes
    ----------
    rows : int

    Raises
    ------
    OutputError
        If the file exists and is not such a table with the same columns, or cannot be written.
    """

    def __init__(self, path: Path, format: str, columns: PredictionColumns) -> None:
        self._path, self._format, self._columns = path, format, columns
        # The first 8 bytes are enough: two images of a million agree in them with a probability of 3e-8.
        self._known = array("Q")
        self._buffer = io.BytesIO()
        self._writer = writer_of(format, self._buffer, columns)
        self._head = self._buffer.getvalue()
        self.rows = 0
        try:
            if path.exists() and path.stat().st_size:
                self._read()
            else:
                self._begin()
        except OSError as error:
            raise write_error(error, path) from error

    def __contains__(self, digest: str) -> bool:
        number = _number(digest)
        index = bisect_left(self._known, number)
        return index < len(self._known) and self._known[index] == number

    def append(self, batch: Predictions) -> int:
        """Add a row for each image that has none, and flush them to the disk; return how many."""
        self._buffer.seek(0)
        self._buffer.truncate()
        count = 0
        for index, digest in enumerate(batch.digests):
            if digest not in self:
                self._writer.append(batch[index : index + 1])
                insort(self._known, _number(digest))
                count += 1
        if count:
            self._write(self._buffer.getvalue())
            self.rows += count
        return count

    def _write(self, data: bytes) -> None:
        try:
            if not self._path.exists():
                self._begin()  # somebody moved it away
            with self._path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(error, self._path) from error

    def _begin(self) -> None:
        with atomic_write(self._path) as draft:
            draft.write_bytes(self._head)

    def _read(self) -> None:
        """Learn which images have rows, and remove an unfinished last line."""
        end, head = 0, self._head
        with self._path.open("rb") as file:
            for record in _records(file) if self._format == "csv" else _lines(file):
                if head:
                    if record.removeprefix(b"\xef\xbb\xbf") != head:
                        raise self._foreign(f"Received: {record[:200].decode('utf-8', 'replace').strip()}")
                    head = b""
                else:
                    self._known.append(_number(self._digest_in(record)))
                    self.rows += 1
                end += len(record)
        if end == 0 and not self._is_torn_beginning():
            raise self._foreign("Received a file without a complete line")
        self._known = array("Q", sorted(self._known))
        if end == 0:
            self._begin()
        elif end < self._path.stat().st_size:
            with self._path.open("r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())

    def _is_torn_beginning(self) -> bool:
        with self._path.open("rb") as file:
            start = file.read(len(self._head or _JSON_START))
        return (self._head or _JSON_START).startswith(start)

    def _digest_in(self, record: bytes) -> str:
        text = record.decode("utf-8", "surrogateescape")
        try:
            digest = json.loads(text)[DIGEST] if self._format == "jsonl" else next(csv.reader([text], strict=True))[-1]
        except (ValueError, KeyError, TypeError, csv.Error):
            digest = ""
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise self._foreign(f"Row {self.rows + 1} has no {DIGEST}")
        return digest

    def _foreign(self, received: str) -> OutputError:
        columns = f" with the columns {', '.join(self._columns.header())}" if self._format == "csv" else ""
        return OutputError(
            f"{self._path} exists and was not written by --watch with this model and these options. Expected a table"
            f"{columns}. {received}.",
            hint="Choose another file with -o FILE.",
        )


def _number(digest: str) -> int:
    return int(digest[:16], 16)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    return (line for line in file if line.endswith(b"\n"))


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each complete row; a line break between quotation marks does not end one."""
    record = b""
    for line in file:
        record += line
        if line.endswith(b"\n") and record.count(b'"') % 2 == 0:
            yield record
            record = b""
