"""Labels out of the cells of a table, and separators between them that would be read as part of a label."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data.table_columns import SEPARATOR
from transfer_cli.errors import FolderError
from transfer_cli.text import printable

_NEVER_IN_A_LABEL = ("|", SEPARATOR)
_DOUBTFUL = (",", "/", "+", "&", "\uff0c", "\u3001", "\uff1b")
"""They may separate labels, and may be part of one."""
_MISSING = frozenset(("#n/a", "-", "--", "?", "<na>", "n/a", "na", "nan", "null"))


def labels_of(cell: str, task: Task) -> tuple[str, ...]:
    """Return the labels in a cell: one, or several between semicolons."""
    # An accented letter has two spellings in Unicode; both must be one class, as with the names of folders.
    text = unicodedata.normalize("NFC", cell).strip()
    if task == SINGLE_LABEL:
        return (text,) if text else ()
    return tuple(dict.fromkeys(filter(None, (label.strip() for label in text.split(SEPARATOR)))))


def check_separators(table: Path, line_of: Mapping[str, int], task: Task) -> list[str]:
    """Return a warning if a label may be several labels.

    Parameters
    ----------
    table : Path
    line_of : mapping of str to int
        Each label, and the first line that has it.
    task : str

    Raises
    ------
    FolderError
        If a label has a character that separates labels, or is made of other labels and commas.
    """
    for label, line in line_of.items():
        for separator in _NEVER_IN_A_LABEL:
            if separator in label:
                raise _several(table, line, label, separator, task)
        if _parts(label, ",") and all(part in line_of for part in _parts(label, ",")):
            raise _several(table, line, label, ",", task)
    doubtful = {
        label: separator
        for label in line_of
        for separator in _DOUBTFUL
        if (parts := _parts(label, separator)) and (separator == "," or any(part in line_of for part in parts))
    }
    if task != SINGLE_LABEL:
        apart = {label: label.split() for label in line_of}
        doubtful |= {label: " " for label, parts in apart.items() if len(parts) > 1 and line_of.keys() >= {*parts}}
    if not doubtful:
        return []
    example, separator = next(iter(doubtful.items()))
    return [
        f"{table.name}: {printable(example)!r} (line {line_of[example]}) is one label, {separator!r} does not separate "
        f"labels. If it is several labels, name the column labels and write {SEPARATOR} between them"
    ]


def missing_values(table: Path, line_of: Mapping[str, int]) -> list[str]:
    """Return a warning if a label is what other programs write for a missing value."""
    found = [label for label in line_of if label.lower() in _MISSING]
    return [
        f"{table.name}: {printable(label)!r} (line {line_of[label]}) is used as a class. If it means that an image has "
        "no label, leave the cell empty"
        for label in found
    ]


def _parts(label: str, separator: str) -> list[str]:
    """Return what a separator divides a label into; empty unless there are several."""
    parts = [part.strip() for part in label.split(separator)] if separator in label else []
    return parts if all(parts) else []


def _several(table: Path, line: int, label: str, separator: str, task: Task) -> FolderError:
    expected = "one label" if task == SINGLE_LABEL else f"labels with {SEPARATOR} between them"
    column = "name the column labels and write" if task == SINGLE_LABEL else "write"
    example = SEPARATOR.join(part.strip() for part in label.split(separator) if part.strip())
    return FolderError(
        f"{table} line {line}: expected {expected} in a cell. Received {label!r}, which has {separator!r} in it.",
        hint=f"If these are several labels: {column} {example}. If it is one label, replace {separator!r} in its name.",
    )
