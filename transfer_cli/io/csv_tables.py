"""CSV tables: UTF-8, line feeds, and file names that are not UTF-8 keep their bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transfer_cli.errors import InputError
from transfer_cli.io.atomic import write_text
from transfer_cli.regular_file import read_regular


def csv_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as the bytes of a CSV file."""
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # A carriage return ends a row when it is read, but Python's writer does not quote it.
        (quoted if any("\r" in str(cell) for cell in row) else plain).writerow(row)
    return text.getvalue().encode("utf-8", "surrogateescape")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with a header atomically."""
    write_text(path, csv_bytes([header, *rows]).decode("utf-8", "surrogateescape"))


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table that has at least `columns`.

    Raises
    ------
    InputError
        If it cannot be read or lacks a column.
    """
    try:
        text = read_regular(path).decode("utf-8-sig", "surrogateescape")
        table = csv.DictReader(io.StringIO(text, newline=""))
        if table.fieldnames is None or not set(columns) <= set(table.fieldnames):
            raise InputError(
                f"{path} lacks columns. Expected {', '.join(columns)}. "
                f"Received: {', '.join(table.fieldnames or ()) or 'an empty file'}."
            )
        return list(table)
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror}.") from error
    except csv.Error as error:
        raise InputError(f"{path} is not a readable CSV table: {error}.") from error
