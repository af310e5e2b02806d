"""A train/val/test split that a table gives: a file of ``--split``, or split.csv in the image folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transfer_cli.data.csv_manifest import SPLIT_COLUMN, listing_in, part_in
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.data.table_columns import TableColumns, TableOptions
from transfer_cli.data.table_paths import known_paths
from transfer_cli.errors import InputError, SplitError
from transfer_cli.io.foreign_tables import ForeignTable, has_foreign_bytes, not_utf8
from transfer_cli.text import counted

_DIGEST = "sha256"
_RENAME = "If the file is not the split of these images, rename it or move it elsewhere."


def read(path: Path, folder: ImageFolder) -> Split:
    """Return the parts that a table gives to the images of a folder.

    Parameters
    ----------
    path : Path
        Table with a column of paths and one of parts, and optionally ``sha256``. Paths are relative to the folder of
        the images or to that of the table. An image with an empty cell is in no part yet.
    folder : ImageFolder

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, has an unknown part, or lists none of the images.
    """
    table = ForeignTable.read(path)
    columns = TableColumns.find(table, TableOptions(), needs_label=False)
    if columns.split is None:
        received = ", ".join(table.columns)
        raise SplitError(f"{path}: expected the columns path and {SPLIT_COLUMN}. Received: {received}.")
    digest = table.columns.index(_DIGEST) if _DIGEST in table.columns else None
    known = {file.path for file in folder.files}
    known_path = known_paths(known, folder.root, path.parent)
    rows: dict[str, SplitRow] = {}
    line_of: dict[str, int] = {}
    for row in table.rows:
        cell = row.cells[columns.path]
        name = known_path(cell)
        if has_foreign_bytes(name) and name not in known:
            raise not_utf8(path, row.line, cell)
        part = part_in(table, row, columns.split)
        if name in line_of:
            raise SplitError(f"{path} line {row.line}: {name} is already listed in line {line_of[name]}.")
        line_of[name] = row.line
        if part is not None:
            rows[name] = SplitRow(name, row.cells[digest].strip() if digest is not None else "", (), part)
    split = Split(tuple(rows.values()), 0, "split.csv", folder.task)
    if digest is None and not known & rows.keys():
        raise matches_nothing(path, split, folder)
    return split


def of_folder(folder: ImageFolder, note: Callable[[str], None]) -> Split | None:
    """Return the split in the split.csv of an image folder, or None if there is none that this program wrote.

    Raises
    ------
    SplitError
        If the file has the columns of this program, but cannot be used.
    """
    path = folder.root / "split.csv"
    if not path.is_file() or path.absolute() == folder.source.absolute():
        return None
    listing = listing_in(folder.source) if folder.source.is_dir() else folder.source
    if listing and any(file.part for file in folder.files):
        note(f"left out: {path}, since {listing} has a column for train, val and test; --split {path} uses it")
        return None
    try:
        columns = ForeignTable.read(path).columns
        if not {"path", SPLIT_COLUMN} <= {*columns}:
            note(
                f"left out: {path}, which has other columns than path and {SPLIT_COLUMN} "
                f"({', '.join(columns) or 'an empty file'})"
            )
            return None
        return read(path, folder)
    except InputError as error:
        raise SplitError(str(error), hint=_RENAME) from error


def matches_nothing(path: Path | None, split: Split, folder: ImageFolder) -> SplitError:
    """Return the error of a split that lists none of the images of a folder."""
    return SplitError(
        f"{path or 'The split'} lists {counted(len(split.rows), 'image')}, and none of them is among the "
        f"{counted(len(folder.files), 'image')} of {folder.source}. Expected paths such as {folder.files[0].path}. "
        f"Received: {split.rows[0].path if split.rows else 'no image with a part'}.",
        hint=_RENAME if path is not None and path.parent == folder.root else None,
    )
