"""Whether a file may be replaced by predictions: it holds earlier ones, and no label in it was corrected by hand."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from zipfile import is_zipfile

from transfer_cli.data.prediction_columns import UNKNOWN
from transfer_cli.errors import OutputError
from transfer_cli.io.workbook import is_untouched

_HINT = "Choose another name with -o, or remove the file."
_DELIMITERS = ",;"
_TABLE_LINE = re.compile(r" \d+\.\d%|  -$|  could not be read: ")
"""A line of the format `table`."""
_MAGIC_BYTES = 4
_PREFIX = "p_"


def check_replaceable(path: Path) -> None:
    """Raise OutputError if `path` is a file that is lost when predictions are written to it.

    Corrected labels are not recognised where a table has several labels per image, or the K most likely classes alone
    (``--top-k`` without ``--unknown``), since what was predicted cannot be told, and in Parquet, which nobody edits.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        start = file.read(_MAGIC_BYTES)
    if start == b"PAR1":
        return
    if is_zipfile(path):
        if not is_untouched(path):
            raise OutputError(f"{path} was changed, or written by another program, and would be lost.", hint=_HINT)
        return
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            corrected = next(filter(None, _corrections(text)), None)
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise OutputError(f"{path} is not a file of predictions and would be lost.", hint=_HINT) from error
    if corrected:
        raise OutputError(f"{path} has labels that were corrected, and they would be lost: {corrected}.", hint=_HINT)


def _corrections(text: IO[str]) -> Iterator[str | None]:
    """Yield for each row how its label was corrected, or None; raise ValueError if it is not one of predictions."""
    first = text.readline()
    text.seek(0)
    if first.startswith("{"):
        for line in text:
            yield _correction_of_object(json.loads(line))
    elif not _TABLE_LINE.search(first):
        rows = filter(None, csv.reader(text, delimiter=max(_DELIMITERS, key=first.count)))
        header = next(rows, [])
        if header[:1] != ["path"] or not {"label", "labels"} & {*header}:
            raise ValueError(header)
        yield from (_correction_of_row(header, row) for row in rows)


def _correction_of_object(row: Mapping[str, object]) -> str | None:
    path = str(row["path"])
    if not {"label", "labels", "error"} & {*row}:
        raise ValueError(row)
    label, probabilities = row.get("label"), row.get("probabilities")
    if not isinstance(label, str) or not isinstance(probabilities, dict):
        return None
    return _correction(path, label, row, probabilities)


def _correction_of_row(header: Sequence[str], cells: Sequence[str]) -> str | None:
    row = {name: cell.removeprefix("'") for name, cell in zip(header, cells, strict=True)}
    label = row.get("label")
    if not label:  # several labels per image, or an image that could not be read
        return None
    names = [name for name in header if name.startswith(_PREFIX)]
    probabilities = {name.removeprefix(_PREFIX): float(row[name].replace(",", ".")) for name in names}
    return _correction(row["path"], label, row, probabilities)


def _correction(path: str, label: str, row: Mapping[str, object], probabilities: Mapping[str, float]) -> str | None:
    """Return how a label was corrected; None if the model predicted it."""
    if "guess" in row:
        predicted = UNKNOWN if row["reason"] else str(row["guess"])
    elif not probabilities or probabilities.get(label) == max(probabilities.values()):
        return None
    else:
        predicted = max(probabilities, key=lambda name: probabilities[name])
    return None if label == predicted else f"{path} is {label}, predicted was {predicted}"
