"""A table that renames, merges or leaves out classes, in place of moving images between folders (``--class-map``)."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transfer_cli.catalog.tasks import Task
from transfer_cli.data.label_cells import check_separators, missing_values
from transfer_cli.errors import FolderError, InputError, did_you_mean
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.io.foreign_tables import ForeignTable, Row, fold, has_foreign_bytes, not_utf8
from transfer_cli.regular_file import read_regular
from transfer_cli.text import listed, printable

COLUMNS = ("from", "to")
_EXAMPLE = "expected the columns from,to, such as the row wolf,dog (merges wolf into dog) or wolf, (leaves wolf out)."
_SHOWN = 20


@dataclass(frozen=True)
class ClassMap:
    """The class that images of each class get instead.

    Attributes
    ----------
    name : str
        The table, or the model whose map it is, for messages.
    targets : mapping of str to str
        The new name of each class that is listed; empty if the class is left out. Names are not followed further: with
        a → b and b → c the images of a become b.
    lines : mapping of str to int
        The line of each class; empty if there is no table.
    data : bytes
        The table as it was read.
    """

    name: str
    targets: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict)
    data: bytes = b""

    @classmethod
    def of(cls, name: str, targets: Mapping[str, str]) -> ClassMap:
        """Return the map of a model, which has no table of its own."""
        return cls(name, dict(targets), {}, csv_bytes([COLUMNS, *targets.items()]))

    @classmethod
    def read(cls, path: Path) -> ClassMap:
        """Read a table with the columns ``from`` and ``to``, or with two columns and no heading.

        Raises
        ------
        InputError
            If it is not such a table, lists a class twice, or its rows form a circle.
        """
        table = ForeignTable.read(path, min_columns=len(COLUMNS))
        targets: dict[str, str] = {}
        lines: dict[str, int] = {}
        for row, (before, after) in _pairs(table):
            if not before:
                raise InputError(f"{path} line {row.line}: expected a class in the column from. Received: no text.")
            if before in lines:
                raise InputError(
                    f"{path} line {row.line}: {printable(before)} is already listed in line {lines[before]}. Expected "
                    "each class once.",
                    hint="To merge several classes, write one row for each of them, with the same name in the column "
                    "to.",
                )
            targets[before], lines[before] = after, row.line
        if not targets:
            raise InputError(f"{path} lists no class: {_EXAMPLE}")
        _check_no_circle(path, targets)
        return cls(str(path), targets, lines, read_regular(path))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the table."""
        return hashlib.sha256(self.data).hexdigest()

    def labels_of(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the new labels of an image, each once.

        Examples
        --------
        >>> ClassMap("map.csv", {"wolf": "dog", "cat": ""}).labels_of(["wolf", "dog", "cat", "fox"])
        ('dog', 'fox')
        """
        return tuple(filter(None, dict.fromkeys(self.targets.get(label, label) for label in labels)))

    def check_classes(self, names: Collection[str], source: Path) -> None:
        """Raise FolderError if a class of the table is not one of `names`, the classes of `source`."""
        for name in self.targets:
            if name in names:
                continue
            line = f" line {self.lines[name]}" if name in self.lines else ""
            hint = "If line 1 is a heading, it must be: from,to" if self.lines.get(name) == 1 else None
            raise FolderError(
                f"{self.name}{line}: {source} has no class {printable(name)}.{did_you_mean(name, names)} "
                f"Expected one of: {listed([*map(printable, names)], _SHOWN)}.",
                hint=hint,
            )

    def warnings(self, task: Task) -> list[str]:
        """Return what may be meant in another way; raise FolderError if a new name has a separator of labels."""
        if not self.lines:  # the map of a model, whose training has said it
            return []
        path = Path(self.name)
        line_of = {after: self.lines.get(before, 0) for before, after in self.targets.items() if after}
        lines = [*check_separators(path, line_of, task), *missing_values(path, line_of)]
        for before, after in self.targets.items():
            if after != before and (next_name := self.targets.get(after, after)) != after:
                then = f"become {printable(next_name)}" if next_name else "are left out"
                lines.append(
                    f"{self.name}: names are not followed further: images of {printable(before)} become "
                    f"{printable(after)}, and those of {printable(after)} {then}"
                )
        return lines

    def summary(self, names: Collection[str] | None = None) -> str:
        """Return what becomes of the classes, or of those in `names`; empty if none of them changes.

        Examples
        --------
        >>> ClassMap("map.csv", {"wolf": "dog", "cat": ""}).summary()
        'wolf → dog; cat left out'
        """
        sources: dict[str, list[str]] = defaultdict(list)
        for before, after in self.targets.items():
            if after != before and (names is None or before in names):
                sources[after].append(printable(before))
        changes = [f"{listed(of)} → {printable(after)}" for after, of in sources.items() if after]
        if left := sources.get(""):
            changes.append(f"{listed(left)} left out")
        more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        return "; ".join(changes[:_SHOWN]) + more


def _pairs(table: ForeignTable) -> Iterable[tuple[Row, tuple[str, str]]]:
    """Yield each row with its two names; the first line is a row unless it is ``from,to``."""
    headings = [fold(name) for name in table.columns]
    if any(name in headings for name in COLUMNS) and not all(headings.count(name) == 1 for name in COLUMNS):
        raise InputError(f"{table.path}: {_EXAMPLE} Received: {printable(', '.join(table.columns))}.")
    rows = table.rows
    if set(COLUMNS) <= {*headings}:
        before, after = map(headings.index, COLUMNS)
    else:
        if len(headings) != len(COLUMNS):
            received = printable(", ".join(table.columns)) or "an empty file"
            raise InputError(f"{table.path}: {_EXAMPLE} Received: {received}.")
        before, after = 0, 1
        rows = (Row(table.header_line, table.columns), *rows)
    for row in rows:
        yield row, (_name(table, row, before), _name(table, row, after))


def _name(table: ForeignTable, row: Row, index: int) -> str:
    # An accented letter has two spellings in Unicode; both must be one class, as with the names of folders.
    cell = unicodedata.normalize("NFC", row.cells[index]).strip()
    if has_foreign_bytes(cell):
        raise not_utf8(table.path, row.line, cell)
    if "\n" in cell or "\r" in cell:
        raise InputError(f"{table.path} line {row.line}: expected a cell of one line. Received: {cell[:80]!r}.")
    return cell


def _check_no_circle(path: Path, targets: Mapping[str, str]) -> None:
    """Raise InputError if classes become each other; a class that keeps its name is no circle."""
    for start in targets:
        circle = [start]
        while (after := targets.get(circle[-1], "")) and after not in circle:
            circle.append(after)
        if after == start and len(circle) > 1:
            raise InputError(
                f"{path}: {' → '.join(map(printable, [*circle, start]))} is a circle. Expected a new name, or a class "
                "that keeps its name.",
                hint="To swap the names of classes, rename their folders, or the labels in the table of the images.",
            )
