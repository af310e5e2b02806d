"""A CSV file that lists images with their labels and, optionally, their train/val/test split."""

from __future__ import annotations

import csv
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.errors import FolderError
from transfer_cli.io.csv_tables import read_table

LABELS_FILE = "labels.csv"
"""If a folder holds a file of this name, it lists the images of the folder."""
SPLIT_COLUMN = "split"
"""Column that assigns an image to train, val or test, in every table that is read or written."""
SEPARATOR = ";"
COLUMNS = f"path,label (or path,labels with {SEPARATOR} between several labels), and optionally {SPLIT_COLUMN}"


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder.

    Attributes
    ----------
    path : str
        Relative to the folder's root, with forward slashes.
    labels : tuple of str
        Its classes: one for a single-label task, any number for a multi-label task.
    part : str or None
        ``train``, ``val`` or ``test`` if the layout says it.
    """

    path: str
    labels: tuple[str, ...]
    part: str | None = None


def read(path: Path, parts: Mapping[str, str], left_out: Counter[str]) -> tuple[Task, list[ImageFile]]:
    """Read a CSV file.

    Parameters
    ----------
    path : Path
        Table with the columns ``path`` and ``label`` (or ``labels``, separated by ``;``), and optionally ``split``.
        Paths are relative to the folder of the file.
    parts : mapping of str to str
        Accepted names of a part, and the part that each means.
    left_out : Counter
        Images of a single-label task without a class are left out and counted here.

    Returns
    -------
    str
        A row of `catalog.tasks`: single-label if there is a column ``label``, multi-label if ``labels``.
    list of ImageFile
        In the order of the file.

    Raises
    ------
    FolderError
        If columns are missing, an image is listed twice, or a part is unknown.
    InputError
        If the file is not a readable table.
    """
    columns = _columns(path)
    if not _has_columns(columns):
        received = ", ".join(columns) or "an empty file"
        semicolons = " Separate the columns by commas." if len(columns) == 1 and ";" in columns[0] else ""
        raise FolderError(f"{path}: expected the columns {COLUMNS}, each once. Received: {received}.{semicolons}")
    if "part" in columns and SPLIT_COLUMN not in columns:
        raise FolderError(f"{path}: the column for train, val and test is called {SPLIT_COLUMN}. Received: part.")
    task = SINGLE_LABEL if "label" in columns else MULTI_LABEL
    files: list[ImageFile] = []
    line_of: dict[str, int] = {}
    for line, row in enumerate(read_table(path, ()), start=2):
        name = _path(row["path"] or "", path.parent)
        if not name:
            raise FolderError(f"{path} line {line}: expected the path of an image. Received: an empty cell.")
        if name in line_of:
            raise FolderError(f"{path} line {line}: {name} is already listed in line {line_of[name]}.")
        line_of[name] = line
        labels = _labels(row, task)
        if not labels and task == SINGLE_LABEL:
            left_out["without a label"] += 1
            continue
        given = row.get(SPLIT_COLUMN) or ""
        part = given.strip().lower()
        if part and part not in parts:
            raise FolderError(
                f"{path} line {line}: expected train, val, test or an empty cell in the column {SPLIT_COLUMN}. "
                f"Received: {given!r}."
            )
        files.append(ImageFile(name, labels, parts.get(part)))
    return task, files


def has_manifest_columns(path: Path) -> bool:
    """Return whether a CSV file has the columns of a manifest; another program may use the same file name."""
    return _has_columns(_columns(path))


def _columns(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, csv.Error) as error:
        raise FolderError(f"{path} is not a readable CSV table: {error}.") from error


def _has_columns(columns: Sequence[str]) -> bool:
    counts = [columns.count(name) for name in ("path", "label", "labels", SPLIT_COLUMN)]
    return counts[0] == 1 and sorted(counts[1:3]) == [0, 1] and counts[3] <= 1


def _path(text: str, root: Path) -> str:
    """Return a path in its normal form, relative to `root` if it is below it."""
    text = text.strip().replace("\\", "/")
    return posixpath.normpath(text).removeprefix(root.absolute().as_posix() + "/") if text else ""


def _labels(row: Mapping[str, str], task: Task) -> tuple[str, ...]:
    # An accented letter has two spellings in Unicode; both must be one class, as with the names of folders.
    text = unicodedata.normalize("NFC", (row["label"] if task == SINGLE_LABEL else row["labels"]) or "").strip()
    if task == SINGLE_LABEL:
        return (text,) if text else ()
    return tuple(dict.fromkeys(filter(None, (label.strip() for label in text.split(SEPARATOR)))))
