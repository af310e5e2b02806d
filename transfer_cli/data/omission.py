"""A table of images that are left out, in place of deleting them (``--omit``)."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from transfer_cli.data.csv_manifest import ImageFile
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.data.table_columns import path_column
from transfer_cli.data.table_paths import known_paths
from transfer_cli.errors import FolderError
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.discovery import SUFFIXES
from transfer_cli.io.foreign_tables import ForeignTable, Row, fold
from transfer_cli.regular_file import read_regular
from transfer_cli.text import counted, listed, printable, utf8

_DIGEST = "sha256"
_PAIR = ("patha", "pathb")
_PAIR_PARTS = ("splita", "splitb")
_SUSPECTS = {"suggestedlabel", "score"}
"""Columns of the list of labels that may be wrong."""
_EXAMPLES = 3


@dataclass(frozen=True)
class OmittedRow:
    """A row of the table: an image, or the two images of a pair, by path or by digest.

    Attributes
    ----------
    line : int
    paths : tuple of str
        As they are written.
    digest : str
        SHA-256 in hexadecimal, or empty.
    parts : tuple of str
        The parts of the split that a pair is in; empty for a single image.
    """

    line: int
    paths: tuple[str, ...]
    digest: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Omission:
    """The images of a table, which are left out of a folder.

    Attributes
    ----------
    path : Path
    rows : tuple of OmittedRow
    lists_suspects : bool
        Whether it is a list of labels that may be wrong, from ``data check`` or ``report``.
    data : bytes
        The table as it was read.
    """

    path: Path
    rows: tuple[OmittedRow, ...]
    lists_suspects: bool
    data: bytes

    @classmethod
    def read(cls, path: Path) -> Omission:
        """Read a table: suspects.csv, duplicates.csv and leaks.csv, or any with paths or digests of images.

        The paths are in the column ``path`` (or another usual heading), else in the first one; a heading is optional.

        Raises
        ------
        InputError
            If it is not a readable table.
        """
        table = ForeignTable.read(path)
        headings = [fold(name) for name in table.columns]
        suspects = set(headings) >= _SUSPECTS
        return cls(path, tuple(_rows(table, headings)), suspects, read_regular(path))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the table."""
        return hashlib.sha256(self.data).hexdigest()

    def omitted(self, files: Sequence[ImageFile], root: Path) -> tuple[set[str], list[OmittedRow]]:
        """Return the paths of the images that are left out, and the rows that match no image.

        Of a pair of duplicates one image is left out: that of the training set, if they are in two parts, so that the
        test images stay the same; else the second. If their labels differ, both are, since one of the labels is wrong.

        Parameters
        ----------
        files : sequence of ImageFile
            All images, with the labels that they are trained with.
        root : Path
        """
        file_of = {file.path: file for file in files}
        find = known_paths(file_of, root, self.path.parent, Path())
        of_digest = cache(lambda: _paths_by_digest(file_of, root))
        omitted: set[str] = set()
        unmatched, pairs = [], []
        for row in self.rows:
            found = [name for name in map(find, row.paths) if name in file_of]
            if not found and row.digest:
                found = of_digest().get(row.digest, [])
            if not row.parts:
                omitted |= {*found}
            elif len(found) == len(row.paths):
                pairs.append((found, row.parts))
            if not found:
                unmatched.append(row)
        # Pairs whose labels differ first: both images of these are left out.
        pairs.sort(key=lambda pair: len({frozenset(file_of[name].labels) for name in pair[0]}) < 2)
        for names, parts in pairs:
            omitted |= _of_pair(names, parts, file_of, omitted)
        return omitted, unmatched

    def check_matches(self, files: Sequence[ImageFile], unmatched: Sequence[OmittedRow], source: Path) -> None:
        """Raise FolderError if the table has rows, and none of them is an image of the folder."""
        if self.rows and len(unmatched) == len(self.rows):
            raise FolderError(
                f"{self.path} lists {counted(len(self.rows), 'row')}, and none of them is an image of {source}. "
                f"Expected paths such as {printable(utf8(files[0].path))}, or SHA-256 digests. "
                f"Received: {_shown(self.rows[0])}.",
                hint="The paths start from the image folder, or from the folder of the table.",
            )

    def warnings(self, unmatched: Sequence[OmittedRow], source: Path) -> list[str]:
        """Return which rows match no image, and what leaving out these images may do to the score."""
        lines = []
        if unmatched:
            examples = [f"{_shown(row)} (line {row.line})" for row in unmatched]
            match = "matches" if len(unmatched) == 1 else "match"
            lines.append(
                f"{self.path}: {counted(len(unmatched), 'row')} {match} no image of {source}: "
                f"{listed(examples, _EXAMPLES)}"
            )
        if self.lists_suspects and self.rows:
            lines.append(
                f"{self.path} lists labels that a classifier doubts: keep only the rows whose label is wrong. Leaving "
                "out correct images because they are difficult makes the score too optimistic"
            )
        return lines


def _rows(table: ForeignTable, headings: Sequence[str]) -> Iterator[OmittedRow]:
    digest = headings.index(_DIGEST) if _DIGEST in headings else None
    if set(_PAIR) <= set(headings):
        both = [headings.index(name) for name in _PAIR]
        parts = [headings.index(name) for name in _PAIR_PARTS if name in headings]
        for row in table.rows:
            yield OmittedRow(row.line, _cells(row, both), "", (*_cells(row, parts), "", "")[:2])
        return
    path = path_column(table)
    rows = table.rows
    if path is None and digest is None:
        path = 0
        if table.columns and _is_image(table.columns[0]):
            rows = (Row(table.header_line, table.columns), *rows)
    for row in rows:
        paths = () if path is None else _cells(row, [path])
        written = row.cells[digest].strip().lower() if digest is not None else paths[0].lower()
        found = written if re.fullmatch("[0-9a-f]{64}", written) else ""
        if paths != ("",) or found:
            yield OmittedRow(row.line, paths, found)


def _cells(row: Row, columns: Sequence[int]) -> tuple[str, ...]:
    return tuple(row.cells[column].strip() for column in columns)


def _is_image(text: str) -> bool:
    return text.lower().endswith(SUFFIXES) or re.fullmatch("[0-9a-fA-F]{64}", text) is not None


def _shown(row: OmittedRow) -> str:
    return " and ".join(printable(utf8(text)) for text in row.paths or (row.digest,))


def _of_pair(
    names: Sequence[str], parts: Sequence[str], file_of: Mapping[str, ImageFile], omitted: set[str]
) -> set[str]:
    """Return which images of a pair are left out, beside those that are already."""
    if {*file_of[names[0]].labels} != {*file_of[names[1]].labels}:
        return {*names}
    if not omitted.isdisjoint(names):
        return set()
    known = [PARTS.index(part) if part in PARTS else -1 for part in parts]
    return {names[0] if known[0] < known[1] else names[1]}


def _paths_by_digest(paths: Mapping[str, ImageFile], root: Path) -> Mapping[str, list[str]]:
    """Return the paths of the images with each digest; files that cannot be read have none."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        try:
            found[digest_of_file(root / path).sha256].append(path)
        except OSError:
            continue
    return found
