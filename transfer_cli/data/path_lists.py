"""Lists of image paths in a file: plain text, a table with a column of paths, or JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.data.label_cells import labels_of
from transfer_cli.data.table_columns import PATH_HEADINGS, TableColumns, TableOptions, label_column, task_of
from transfer_cli.data.table_paths import PathSpelling
from transfer_cli.data.videos_and_addresses import address_reason
from transfer_cli.errors import FolderError, InputError
from transfer_cli.io.discovery import SUFFIXES as IMAGE_SUFFIXES
from transfer_cli.io.foreign_tables import SUFFIXES as TABLE_SUFFIXES
from transfer_cli.io.foreign_tables import WORKBOOK_SUFFIXES, ForeignTable, fold, read_text
from transfer_cli.text import counted, printable, shell_command

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
SUFFIXES = (*TABLE_SUFFIXES, ".lst", ".list", *_JSON_SUFFIXES, *WORKBOOK_SUFFIXES)
_ARRAYS = ("images", "paths", "files", "data", "annotations")
_EXPECTED = 'Expected paths (["a.jpg", "b.jpg"]) or objects with a path ([{"path": "a.jpg"}])'


@dataclass(frozen=True)
class PathList:
    """The paths in a file that lists images, in its order.

    Attributes
    ----------
    path : Path
        The file.
    images : tuple of str
        A path is relative to the folder of the file, or else to the current folder, whichever has the image.
    in_current_folder : int
        Number of those that are relative to the current folder.
    labels : tuple of tuple of str
        The labels of each image; empty if the file is no table with a column of labels.
    """

    path: Path
    images: tuple[str, ...]
    in_current_folder: int
    labels: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def read(cls, path: Path) -> PathList:
        """Read a list.

        Raises
        ------
        InputError
            If it cannot be read, has no paths, or none of them exists.
        """
        names, labels = _names_and_labels(path)
        spelling, here = PathSpelling(path.parent), 0
        images = []
        for name in names:
            found = name if address_reason(name) else os.path.join(path.parent, name)  # noqa: PTH118
            if not os.path.exists(found) and found != name:  # noqa: PTH110
                found = os.path.join(path.parent, spelling.find(name))  # noqa: PTH118
            if not os.path.exists(found) and os.path.exists(name):  # noqa: PTH110
                found, here = name, here + 1
            images.append(found)
        if not any(map(os.path.exists, images)):
            raise _nothing_found(path, names)
        return cls(path, tuple(images), here, labels)

    def summary(self) -> str:
        """Return one line: how many images it lists, and what their paths are relative to."""
        total, here = len(self.images), self.in_current_folder
        if not here:
            place = "the folder of the list"
        elif here == total:
            place = "the current folder"
        else:
            place = f"the folder of the list, {here} of them to the current folder"
        return f"{self.path}: {counted(total, 'path')}, relative to {place}"


def _nothing_found(path: Path, names: Sequence[str]) -> InputError:
    if not names:
        return InputError(f"{path} lists no images. Expected one path per line, a column path, or JSON.")
    if address_reason(names[0]):
        return InputError(
            f"{path} lists addresses, such as {printable(names[0])}. Expected paths of image files.",
            hint=f"Download them into a folder first: wget -P images -i {shell_command(path)}",
        )
    which = "the path in it does not exist" if len(names) == 1 else f"none of the {len(names)} paths in it exists"
    folder = path.parent.absolute()
    return InputError(
        f"{path}: {which}, such as {printable(names[0])}. Expected paths of images, relative to {folder} or to the "
        "current folder.",
        hint="If it is a list of images, run the command in the folder that its paths start from.",
    )


def is_list(path: str) -> bool:
    """Return whether a path is that of a file that lists images, by the ending of its name."""
    return path.lower().endswith(SUFFIXES) and not Path(path).is_dir()


def _names_and_labels(path: Path) -> tuple[Sequence[str], tuple[tuple[str, ...], ...]]:
    suffix = path.suffix.lower()
    if suffix in _JSON_SUFFIXES:
        return _names_in_json(path, read_text(path)), ()
    if suffix in TABLE_SUFFIXES or suffix in WORKBOOK_SUFFIXES:
        is_plain = suffix == ".txt"
        try:
            table = ForeignTable.read(path)
            column = TableColumns.find(table, TableOptions(), needs_label=False).path
            rows = [row.cells for row in table.rows if row.cells[column].strip()]
            label = label_column(table)
            task = task_of(table, label)
            labels = () if label is None else tuple(labels_of(cells[label], task) for cells in rows)
            return [cells[column].strip() for cells in rows], labels
        except FolderError:
            # A list without a heading: its first row is an image.
            if not is_plain and not _is_image(table.columns):
                raise
            if not is_plain:
                return [table.columns[0], *(row.cells[0].strip() for row in table.rows)], ()
        except InputError:
            # A line of plain text may hold anything.
            if not is_plain:
                raise
    return [line.strip("\r") for line in read_text(path).replace("\0", "\n").split("\n") if line.strip()], ()


def _is_image(cells: Sequence[str]) -> bool:
    return bool(cells) and cells[0].lower().endswith(IMAGE_SUFFIXES)


def _names_in_json(path: Path, text: str) -> list[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise InputError(f"{path} is not JSON: {error}. {_EXPECTED}.") from None
    if isinstance(value, dict):
        value = next((value[key] for key in _ARRAYS if isinstance(value.get(key), list)), [value])
    items = value if isinstance(value, list) else [value]
    names = [_name_in_item(item) for item in items]
    if None in names:
        index = names.index(None)
        raise InputError(f"{path}: item {index + 1} has no path. {_EXPECTED}. Received: {str(items[index])[:80]}.")
    return [name for name in names if name]


def _name_in_item(item: Any) -> str | None:
    if isinstance(item, dict):
        item = next((value for key, value in item.items() if fold(str(key)) in PATH_HEADINGS), None)
    return item if isinstance(item, str) else None
