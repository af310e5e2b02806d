"""Which column of a table holds the paths, the labels, the parts of the split and the groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.errors import FolderError, did_you_mean
from transfer_cli.io.foreign_tables import ForeignTable, fold
from transfer_cli.text import printable, shell_command

SPLIT_COLUMN = "split"
"""Column that assigns an image to train, val or test, in every table that is written."""
GROUP_COLUMN = "group"
SEPARATOR = ";"
COLUMNS = f"path,label (or path,labels with {SEPARATOR} between several labels), and optionally {SPLIT_COLUMN}"

PATH_HEADINGS = (
    *("path", "file", "filename", "filepath", "fname", "image", "imagefile", "imagename", "imagepath", "img"),
    *("imgfile", "imgname", "imgpath", "photo", "picture"),
)
_SINGLE = ("label", "class", "species", "category", "classname", "labelname", "categoryname", "speciesname")
_SEVERAL = ("labels", "classes", "categories", "tags")
_SPLITS = (SPLIT_COLUMN, "set", "subset", "partition")
_WRITTEN = ("sha256",)
"""Columns of the program's own tables that carry nothing to read."""
_PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "holdout", "heldout"),
}
_PART_OF = {name: part for part, names in _PART_NAMES.items() for name in names}
_FLAGS = {f"is{name}" for name in _PART_OF}
"""Headings of columns that say yes or no to a part, such as is_valid."""
_LISTED = 8


@dataclass(frozen=True)
class TableOptions:
    """How a table of images is read, where its headings do not say it.

    Attributes
    ----------
    path, label : str, optional
        Headings of the columns of the paths and of the labels.
    group : str, optional
        Heading of the column of the groups.
    images : Path, optional
        Folder that the paths are relative to. Default: the folder of the table.
    """

    path: str | None = None
    label: str | None = None
    group: str | None = None
    images: Path | None = None

    def check_unused(self, folder: Path) -> None:
        """Raise FolderError if an option is given for a folder of images that has no table."""
        given = {"--path-column": self.path, "--label-column": self.label, "--images": self.images}
        if names := [name for name, value in given.items() if value is not None]:
            raise FolderError(
                f"{', '.join(names)}: expected a CSV file that lists the images. Received: {folder}, a folder without "
                "labels.csv.",
                hint="Give the CSV file in place of the folder.",
            )


@dataclass(frozen=True)
class TableColumns:
    """Positions of the columns that are read, and the headings of those that are not.

    Attributes
    ----------
    path : int
    label, split, group : int or None
    task : str
        A row of `catalog.tasks`: whether a cell holds one label or several.
    unused : tuple of str
    """

    path: int
    label: int | None
    split: int | None
    group: int | None
    task: Task
    unused: tuple[str, ...]

    @classmethod
    def find(cls, table: ForeignTable, options: TableOptions, *, needs_label: bool = True) -> TableColumns:
        """Return the columns of a table, by the options or by the usual headings in any case.

        Raises
        ------
        FolderError
            If a column is missing, or several could be meant.
        """
        path = _column(table, options.path, PATH_HEADINGS, "paths", "--path-column")
        names = (*_SINGLE, *_SEVERAL)
        label = _column(table, options.label, names, "labels", "--label-column") if needs_label else None
        if path is None or (label is None and needs_label):
            raise _missing(table, path, label)
        split = _split_column(table)
        group = _chosen(table, options.group, "--group-by column:") if options.group else _group_column(table)
        used = {path, label, split, group if options.group else None}
        others = [name for index, name in enumerate(table.columns) if name and index not in used]
        unused = tuple(name for name in others if fold(name) not in _WRITTEN)
        return cls(path, label, split, group, task_of(table, label), unused)


def path_column(table: ForeignTable) -> int | None:
    """Return the column of the paths by its usual headings, the first if there are several; None if there is none."""
    found = [*_positions(table, PATH_HEADINGS)]
    return next((index for index in found if fold(table.columns[index]) == "path"), found[0] if found else None)


def label_column(table: ForeignTable) -> int | None:
    """Return the column of the true labels by its usual headings; None if there is none, or several could be meant.

    In a table of predictions the column ``label`` is what a model predicted, which its confidence tells.
    """
    found = [*_positions(table, (*_SINGLE, *_SEVERAL))]
    is_predicted = next(_positions(table, ("confidence",)), None) is not None
    return found[0] if len(found) == 1 and not is_predicted else None


def part_named(text: str) -> str | None:
    """Return the part (train, val or test) that a word means in any case, or None.

    Examples
    --------
    >>> part_named("Validation"), part_named("hold-out"), part_named("test set"), part_named("fold1")
    ('val', 'test', 'test', None)
    """
    return _PART_OF.get(fold(text).removesuffix("set"))


def check_split_is_read(table: ForeignTable, columns: TableColumns) -> None:
    """Raise FolderError if a column that is not read holds parts of a split: it would be ignored in silence."""
    for name in columns.unused if columns.split is None else ():
        index = table.columns.index(name)
        named = {row.cells[index].strip() for row in table.rows} - {""}
        parts = {part_named(value) for value in named}
        has_several = "train" in parts and len(parts - {None}) > 1
        if named and (None not in parts or has_several or fold(name) in _FLAGS):
            raise FolderError(
                f"{table.path}: the column for train, val and test is called {SPLIT_COLUMN}. Received a column "
                f"{name} with {_listed(named)}.",
                hint=f"Rename the column {name} to {SPLIT_COLUMN}, with train, val, test or an empty cell in each row; "
                "or remove it to let the program split the images.",
            )


def _column(table: ForeignTable, name: str | None, names: Sequence[str], content: str, option: str) -> int | None:
    return _by_heading(table, names, content, option) if name is None else _chosen(table, name, option)


def _chosen(table: ForeignTable, name: str, option: str) -> int:
    exact = [index for index, column in enumerate(table.columns) if column == name.strip()]
    found = exact or [index for index, column in enumerate(table.columns) if fold(column) == fold(name)]
    if len(found) == 1:
        return found[0]
    option += name if option.endswith(":") else f" {name}"
    count = "several columns" if found else "no column"
    raise FolderError(
        f"{option}: {table.path} has {count} {name}.{did_you_mean(name, table.columns)} "
        f"Received: {_listed(table.columns)}."
    )


def _by_heading(table: ForeignTable, names: Sequence[str], content: str, option: str) -> int | None:
    """Return the column that has one of the usual headings; the program's own names take precedence."""
    own = {"path", "label", "labels"} & {*names}
    for accepted in (own, {*names} - own):
        found = [*_positions(table, accepted)]
        if len(found) > 1:
            several = ", ".join(table.columns[index] for index in found)
            raise FolderError(
                f"{table.path}: expected the columns {COLUMNS}, each once. Received: {_listed(table.columns)}. "
                f"The {content} may be in {several}.",
                hint=f"Name the column: {option} {shell_command(table.columns[found[-1]])}",
            )
        if found:
            return found[0]
    return None


def _split_column(table: ForeignTable) -> int | None:
    found = [*_positions(table, _SPLITS)]
    if len(found) > 1:
        raise FolderError(
            f"{table.path}: expected one column for train, val and test. "
            f"Received: {', '.join(table.columns[index] for index in found)}.",
            hint="Remove or rename all but one of them.",
        )
    return found[0] if found else None


def _group_column(table: ForeignTable) -> int | None:
    return next(_positions(table, (GROUP_COLUMN,)), None)


def _positions(table: ForeignTable, names: Collection[str]) -> Iterator[int]:
    return (index for index, column in enumerate(table.columns) if fold(column) in names)


def task_of(table: ForeignTable, label: int | None) -> Task:
    """Return whether a cell of the column of labels holds one label or several, by its heading."""
    return MULTI_LABEL if label is not None and fold(table.columns[label]) in _SEVERAL else SINGLE_LABEL


def _missing(table: ForeignTable, path: int | None, label: int | None) -> FolderError:
    lacking = [(path, "--path-column"), (label, "--label-column")]
    options = " ".join(f"{option} NAME" for index, option in lacking if index is None)
    received = _listed(table.columns) or "an empty file"
    return FolderError(
        f"{table.path}: expected the columns {COLUMNS}, each once. Received: {received}.",
        hint=f"Name the columns: {options}. If the table does not list images, rename it." if table.columns else None,
    )


def _listed(names: Collection[str]) -> str:
    shown = [printable(name) or "(no heading)" for name in (names if isinstance(names, Sequence) else sorted(names))]
    return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")
