"""CSV tables that other programs wrote: their encoding and delimiter are recognised, and nothing broken is guessed."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.errors import InputError
from transfer_cli.regular_file import read_regular
from transfer_cli.text import counted, printable, shell_command, utf8

SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
"""Names of files that are read as tables."""
WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# A mark of UTF-32 starts with the mark of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_AS_UTF8 = "Save the table as 'CSV UTF-8' (Excel: Save As, file type CSV UTF-8)"
# Excel writes the delimiter into a first line of its own.
_DELIMITER_LINE = re.compile(r"""["']?sep=([,;|\t])["']?[,;|\t]*(\r\n?|\n|$)""", re.IGNORECASE)
_EXAMPLE = 80


@dataclass(frozen=True)
class Row:
    """One row of a table: the line where it begins, counted from 1, and its cells."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class ForeignTable:
    """A table of text.

    Attributes
    ----------
    path : Path
    columns : tuple of str
        As they are written, without outer blanks and without empty ones at the end.
    rows : tuple of Row
        Each with as many cells as there are columns; rows without any content are left out.
    delimiter : str
    header_line : int
        The line of the columns, counted from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    delimiter: str
    header_line: int = 1

    @classmethod
    def read(cls, path: Path, *, min_columns: int = 0) -> ForeignTable:
        """Read a table of any usual encoding (UTF-8, UTF-16, UTF-32) and delimiter (comma, semicolon, tab, ``|``).

        Bytes that are not UTF-8 are kept as surrogates, since a file name may have them; see `not_utf8`.

        Parameters
        ----------
        path : Path
        min_columns : int
            Keep empty columns at the end up to this number: the first line may be a row.

        Raises
        ------
        InputError
            If the file cannot be read, a quotation mark is not closed, or a row has another number of cells than the
            header has columns.
        """
        text, first = _without_delimiter_line(read_text(path))
        delimiter = _delimiter(text) if first is None else first
        records = _records(path, text, delimiter, 1 if first is None else 2)
        header = next(records, Row(1, ()))
        columns = [cell.strip() for cell in header.cells]
        while len(columns) > min_columns and not columns[-1]:
            columns.pop()
        rows = tuple(Row(row.line, _cells(path, row, columns, delimiter)) for row in records)
        return cls(path, tuple(columns), rows, delimiter, header.line)


def not_utf8(path: Path, line: int, text: str) -> InputError:
    """Return the error of a text whose bytes are not UTF-8, as surrogates; it shows the text in a likely encoding."""
    data = text.encode("utf-8", "surrogateescape")
    likely = data.decode("cp1252", "replace")
    target = path.with_name(f"{path.stem}-utf8{path.suffix}")
    return InputError(
        f"{path} line {line}: {printable(utf8(text))} is not UTF-8 text. Expected UTF-8 or UTF-16. "
        f"In the encoding Windows-1252 (cp1252) it would be {printable(likely)}.",
        hint=f"{_AS_UTF8}, or type: iconv -f WINDOWS-1252 -t UTF-8 {shell_command(path)} > {shell_command(target)}",
    )


def has_foreign_bytes(text: str) -> bool:
    """Return whether a text has bytes that are not UTF-8."""
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def fold(name: str) -> str:
    """Return a heading without case, blanks, hyphens, underscores and invisible characters.

    Examples
    --------
    >>> fold(" File_Name ")
    'filename'
    """
    text = re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name).casefold())
    return text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32; bytes that are not UTF-8 are kept as surrogates.

    Raises
    ------
    InputError
        If it cannot be read or is a workbook.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror}.") from error
    if data.startswith(_WORKBOOKS):
        raise InputError(
            f"{path} is an Excel workbook, or one of another program. Expected a CSV table.", hint=f"{_AS_UTF8}."
        )
    encoding = encoding_of(data)
    if encoding in ("utf-8", "utf-8-sig"):
        return data.decode(encoding, "surrogateescape")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} begins like {encoding.upper()} text, but is not: {error.reason} at byte {error.start}.",
            hint=f"{_AS_UTF8}.",
        ) from error


def encoding_of(data: bytes) -> str:
    """Return the encoding of a text by its first bytes: that of its byte order mark, else UTF-16 or UTF-8."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked_encoding(data)


def _unmarked_encoding(data: bytes) -> str:
    """Return UTF-16 if every second byte of the beginning is zero, as in Latin letters; else UTF-8."""
    start = data[:64]
    if len(start) >= 4 and start.count(0) * 3 > len(start):
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8"


def _without_delimiter_line(text: str) -> tuple[str, str | None]:
    match = _DELIMITER_LINE.match(text)
    return (text[match.end() :], match[1]) if match else (text, None)


def _delimiter(text: str) -> str:
    """Return the delimiter that divides the header into the most columns; a comma if none does."""

    def columns(delimiter: str) -> int:
        try:
            return next((len(cells) for cells in _reader(text, delimiter) if any(map(str.strip, cells))), 0)
        except csv.Error:
            return 0

    return max(_DELIMITERS, key=columns)


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _records(path: Path, text: str, delimiter: str, line: int) -> Iterator[Row]:
    """Yield the rows that have content, the header first."""
    reader = _reader(text, delimiter)
    first = line - 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f'{path} line {line}: {_problem(error)}. Expected each quotation mark (") to be closed in its cell. '
                f"Received: {_example(text, line - first)}"
            ) from error
        if any(map(str.strip, cells)):
            yield Row(line, cells)
        line = first + reader.line_num + 1


def _problem(error: csv.Error) -> str:
    if "expected after" in str(error):
        return "there is text after a closing quotation mark"
    return "a quotation mark is opened and never closed"


def _example(text: str, line: int) -> str:
    lines = io.StringIO(text, newline="")
    content = next((each for number, each in enumerate(lines, start=1) if number == line), "").strip()
    return printable(content if len(content) <= _EXAMPLE else f"{content[:_EXAMPLE]}...")


def _cells(path: Path, row: Row, columns: Sequence[str], delimiter: str) -> Sequence[str]:
    """Return the cells of a row; empty cells beyond the last column are dropped."""
    cells, count = row.cells, len(columns)
    if len(cells) == count:
        return cells
    if len(cells) < count or any(map(str.strip, cells[count:])):
        name = _DELIMITERS[delimiter]
        received = ", ".join(cells)
        raise InputError(
            f"{path} line {row.line}: expected {counted(count, 'cell')} ({', '.join(columns)}). Received {len(cells)}: "
            f"{printable(received)}",
            hint=f'Cells are separated by a {name} here. Put a cell that contains one between quotation marks: "...".',
        )
    return cells[:count]
