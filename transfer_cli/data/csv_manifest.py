"""A CSV file that lists images with their labels and, optionally, their train/val/test split and group."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL, Task
from transfer_cli.data.label_cells import check_separators, labels_of, missing_values
from transfer_cli.data.prediction_columns import UNKNOWN
from transfer_cli.data.table_columns import COLUMNS as COLUMNS
from transfer_cli.data.table_columns import GROUP_COLUMN, TableColumns, TableOptions, check_split_is_read, part_named
from transfer_cli.data.table_columns import SEPARATOR as SEPARATOR
from transfer_cli.data.table_columns import SPLIT_COLUMN as SPLIT_COLUMN
from transfer_cli.data.table_paths import PathSpelling
from transfer_cli.errors import FolderError
from transfer_cli.io.discovery import SUFFIXES
from transfer_cli.io.foreign_tables import SUFFIXES as TABLE_SUFFIXES
from transfer_cli.io.foreign_tables import WORKBOOK_SUFFIXES, ForeignTable, Row, fold, has_foreign_bytes, not_utf8
from transfer_cli.text import printable, utf8

LABELS_FILE = "labels.csv"
"""If a folder holds a file of this name, it lists the images of the folder."""
_SHOWN = 5
_COLUMNS_OF_UNKNOWN = ("guess", "reason")
"""Columns by which a table of `predict --unknown` is recognised."""


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
    group : str or None
        Its group if the images come from a table with a column of groups.
    """

    path: str
    labels: tuple[str, ...]
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The images that a table lists.

    Attributes
    ----------
    files : tuple of ImageFile
        In the order of the table.
    task : str
        A row of `catalog.tasks`: several labels per image if the column is called ``labels``.
    group_column : str or None
        Heading of the column of the groups, if it was read.
    warnings : tuple of str
        What may be read in another way than it is meant.
    """

    files: tuple[ImageFile, ...]
    task: Task
    group_column: str | None
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, options: TableOptions, left_out: Counter[str]) -> Manifest:
        """Read a table of images.

        Parameters
        ----------
        path : Path
            Table with a column of paths and one of labels (`table_columns` lists the usual headings), and optionally
            ``split`` and ``group``.
        options : TableOptions
        left_out : Counter
            Images of a single-label task without a class are left out and counted here; so are those labelled `unknown`
            in a table that `predict` wrote, and columns that are not read.

        Raises
        ------
        InputError
            If the file is not a readable table.
        FolderError
            If columns are missing, an image is listed twice, a part is unknown, or a cell holds several labels in a
            column of one.
        """
        table = ForeignTable.read(path)
        columns = TableColumns.find(table, options)
        check_split_is_read(table, columns)
        spelling = PathSpelling(options.images or path.parent)
        # Predictions that a person corrected: these images the model could not judge, and the person did not.
        is_corrected_predictions = {*_COLUMNS_OF_UNKNOWN} <= {*table.columns}
        files: list[ImageFile] = []
        line_of: dict[str, int] = {}
        line_of_label: dict[str, int] = {}
        for row in table.rows:
            name = path_in(table, row, columns.path, spelling, options.images or path.parent)
            if name in line_of:
                raise _listed_twice(path, row.line, name, line_of[name])
            line_of[name] = row.line
            # A table without this column is refused.
            labels = labels_of(_text(table, row, columns.label), columns.task)
            for label in labels:
                line_of_label.setdefault(label, row.line)
            part = part_in(table, row, columns.split)
            if is_corrected_predictions and labels == (UNKNOWN,):
                left_out["labelled `unknown`"] += 1
                continue
            if not labels and columns.task == SINGLE_LABEL:
                left_out["without a label"] += 1
                continue
            files.append(ImageFile(name, labels, part, _text(table, row, columns.group).strip() or None))
        warnings = [*check_separators(path, line_of_label, columns.task), *missing_values(path, line_of_label)]
        if columns.unused:
            left_out[_unused(columns.unused)] += len(columns.unused)
        group = None if columns.group is None else table.columns[columns.group]
        return cls(tuple(files), columns.task, group, tuple(warnings))


def _listed_twice(path: Path, line: int, name: str, before: int) -> FolderError:
    return FolderError(
        f"{path} line {line}: {name} is already listed in line {before}.",
        hint=f"For several labels of an image, name the column labels and write them in one cell: cat{SEPARATOR}dog",
    )


def listing_in(folder: Path) -> Path | None:
    """Return the table of a folder that lists its images, `LABELS_FILE` in any case, or None."""
    tables = [path for path in folder.iterdir() if path.name.lower() == LABELS_FILE and path.is_file()]
    return max(tables, default=None)


def is_table(path: Path) -> bool:
    """Return whether a path is a file with the name of a table; workbooks are refused when they are read."""
    return path.suffix.lower() in (*TABLE_SUFFIXES, *WORKBOOK_SUFFIXES) and path.is_file()


def path_in(table: ForeignTable, row: Row, index: int, spelling: PathSpelling, root: Path) -> str:
    """Return the path of the image in a row; raise FolderError or InputError unless it is one line of text."""
    cell = row.cells[index]
    if not (name := spelling.find(cell)):
        raise FolderError(f"{table.path} line {row.line}: expected the path of an image. Received: an empty cell.")
    if "\0" in name:
        raise FolderError(f"{table.path} line {row.line}: expected the path of an image. Received: {cell[:80]!r}.")
    if not name.isascii() or not name.isprintable():
        # The name of a file may have any bytes, but then the file is there.
        if has_foreign_bytes(name) and not (root / name).exists():
            raise not_utf8(table.path, row.line, cell)
        if ("\n" in name or "\r" in name) and not (root / name).exists():
            raise _line_break(table, row, cell)
    if any("\n" in other for other in row.cells):
        _check_no_row_inside(table, row, index)
    return name


def part_in(table: ForeignTable, row: Row, index: int | None) -> str | None:
    """Return the part in a row, None for an empty cell; raise FolderError if it is not a name of a part."""
    text = "" if index is None else row.cells[index].strip()
    part = part_named(text) if text else None
    if text and part is None:
        assert index is not None
        if has_foreign_bytes(text):
            raise not_utf8(table.path, row.line, text)
        raise FolderError(
            f"{table.path} line {row.line}: expected train, val, test or an empty cell in the column "
            f"{table.columns[index]}. Received: {text!r}.",
            hint="If the column is something else, rename it.",
        )
    return part


def _text(table: ForeignTable, row: Row, index: int | None) -> str:
    """Return the text of a cell; raise InputError if it has bytes that are not UTF-8 or a line break."""
    cell = "" if index is None else row.cells[index]
    if has_foreign_bytes(cell):
        raise not_utf8(table.path, row.line, cell)
    if "\n" in cell.strip() or "\r" in cell.strip():
        raise _line_break(table, row, cell)
    return cell


def _check_no_row_inside(table: ForeignTable, row: Row, index: int) -> None:
    """Raise FolderError if a cell of several lines, such as a comment, has swallowed the row of another image."""
    for cell in row.cells:
        for line in cell.splitlines()[1:]:
            cells = line.split(table.delimiter)
            if len(cells) > 1 and len(cells) > index and cells[index].strip().lower().endswith(SUFFIXES):
                raise _line_break(table, row, cell)


def _line_break(table: ForeignTable, row: Row, cell: str) -> FolderError:
    return FolderError(
        f"{table.path} line {row.line}: expected a cell of one line. Received a cell of several lines: "
        f"{cell.strip()[:80]!r}.",
        hint='Probably a quotation mark (") is missing at the end of the cell.',
    )


def _unused(names: tuple[str, ...]) -> str:
    """Return the reason for columns that are not read, as a note."""
    names = tuple(printable(utf8(name)) for name in names)
    shown = [f"{name} (--group-by column:{name} uses it)" if fold(name) == GROUP_COLUMN else name for name in names]
    return f"columns that are not used: {', '.join(shown[:_SHOWN])}{', ...' * (len(shown) > _SHOWN)}"
