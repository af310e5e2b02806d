"""A CSV file that says which pictures there are, what is on them, and in which part they are."""

from __future__ import annotations

import csv
import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.errors import FolderError
from transfer_cli.io.csv_tables import read_table

IN_FOLDER = "labels.csv"
"""A folder that holds a file of this name is read by it."""
COLUMNS = "path,label (or path,labels with ; between several), and part where it is known"
SEPARATOR = ";"


@dataclass(frozen=True)
class ManifestRow:
    """One picture: its path, its labels, and its part or None."""

    path: str
    labels: tuple[str, ...]
    part: str | None


@dataclass(frozen=True)
class Manifest:
    """What a CSV file lists.

    Attributes
    ----------
    task : str
        A row of catalog.tasks: single-label with a column ``label``, multi-label with a column ``labels``.
    rows : tuple of ManifestRow
        In the order of the file.
    without_label : int
        How many rows of a single-label task name no class; they are not among `rows`.
    """

    task: Task
    rows: tuple[ManifestRow, ...]
    without_label: int


def read(path: Path, parts: Mapping[str, str]) -> Manifest:
    """Return what the CSV file at `path` lists.

    Parameters
    ----------
    path : Path
        With the columns ``path`` and ``label``, or ``path`` and ``labels`` (several, parted by ``;``, or none), and
        ``part`` where that is known. Paths are relative to where the file lies.
    parts : mapping of str to str
        What a part may be called, and what it is.

    Raises
    ------
    FolderError
        When it has other columns, names a picture twice, or an unknown part.
    InputError
        When it is no table that can be read.
    """
    columns = _columns(path)
    if not _fit(columns):
        received = ", ".join(columns) or "an empty file"
        semicolons = " Its columns have to be parted by commas." if len(columns) == 1 and ";" in columns[0] else ""
        raise FolderError(f"{path}: expected the columns {COLUMNS}, each once. Received: {received}.{semicolons}")
    table = read_table(path, ())
    task = SINGLE_LABEL if "label" in columns else MULTI_LABEL
    rows: list[ManifestRow] = []
    line_of: dict[str, int] = {}
    without = 0
    for line, row in enumerate(table, start=2):
        name = _path(row["path"] or "", path.parent)
        if not name:
            raise FolderError(f"{path} line {line}: expected the path of a picture. Received: none.")
        if name in line_of:
            raise FolderError(f"{path} line {line}: {name} is listed already, in line {line_of[name]}.")
        line_of[name] = line
        labels = _labels(row, task)
        if not labels and task == SINGLE_LABEL:
            without += 1
            continue
        rows.append(ManifestRow(name, labels, _part(row.get("part") or "", parts, f"{path} line {line}")))
    return Manifest(task, tuple(rows), without)


def is_ours(path: Path) -> bool:
    """Return whether a CSV file has the columns of a manifest; another program's table may have the same name."""
    return _fit(_columns(path))


def _columns(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, csv.Error) as error:
        raise FolderError(f"{path} is not a table that can be read: {error}.") from error


def _fit(columns: Sequence[str]) -> bool:
    ours = [columns.count(name) for name in ("path", "label", "labels", "part")]
    return ours[0] == 1 and sorted(ours[1:3]) == [0, 1] and ours[3] <= 1


def _path(text: str, root: Path) -> str:
    """Return the path of a picture in the one spelling that is used, relative to `root` where it lies below it."""
    text = text.strip().replace("\\", "/")
    if not text:
        return ""
    path = posixpath.normpath(text)
    above = root.absolute().as_posix() + "/"
    return path.removeprefix(above)


def _labels(row: Mapping[str, str], task: Task) -> tuple[str, ...]:
    # As with the names of folders: an accent is one letter, however it is spelt.
    text = unicodedata.normalize("NFC", (row["label"] if task == SINGLE_LABEL else row["labels"]) or "").strip()
    if task == SINGLE_LABEL:
        return (text,) if text else ()
    return tuple(dict.fromkeys(filter(None, (label.strip() for label in text.split(SEPARATOR)))))


def _part(text: str, parts: Mapping[str, str], place: str) -> str | None:
    word = text.strip().lower()
    if not word:
        return None
    if word not in parts:
        raise FolderError(f"{place}: expected the part train, val or test, or nothing. Received: {text!r}.")
    return parts[word]
