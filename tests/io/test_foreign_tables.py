"""Tables of other programs: encodings, delimiters, empty rows and broken rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.errors import InputError
from transfer_cli.io.foreign_tables import ForeignTable

ROWS = "path,label\r\na.jpg,L\u00f6we\r\nb.jpg,hare\r\n"


def read(folder: Path, content: bytes | str) -> ForeignTable:
    path = folder / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ForeignTable.read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_read_every_encoding_and_delimiter_gives_the_same_table(tmp_path: Path, encoding: str, delimiter: str) -> None:
    table = read(tmp_path, ROWS.replace(",", delimiter).encode(encoding))
    assert (table.columns, table.delimiter) == (("path", "label"), delimiter)
    assert [(row.line, [*row.cells]) for row in table.rows] == [(2, ["a.jpg", "L\u00f6we"]), (3, ["b.jpg", "hare"])]


def test_read_empty_rows_and_columns_of_excel_are_passed_over(tmp_path: Path) -> None:
    table = read(tmp_path, "\r\npath, label,,\r\na.jpg,x,,\r\n,,,\r\n \r\nb.jpg,y\r\n,\r\n")
    assert table.columns == ("path", "label")
    assert [(row.line, [*row.cells]) for row in table.rows] == [(3, ["a.jpg", "x"]), (6, ["b.jpg", "y"])]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;\r", '"sep=;"'])
def test_read_delimiter_line_of_excel_is_obeyed(tmp_path: Path, first: str) -> None:
    table = read(tmp_path, f"{first}\npath;label\na,b.jpg;x\n")
    assert [(row.line, [*row.cells]) for row in table.rows] == [(3, ["a,b.jpg", "x"])]


def test_read_old_mac_line_ends_and_cells_of_several_lines_keep_the_line_numbers(tmp_path: Path) -> None:
    assert [row.line for row in read(tmp_path, "path,label\ra,x\rb,y\r").rows] == [2, 3]
    assert [row.line for row in read(tmp_path, 'path,label\na,"x\ny"\nb,y\n').rows] == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('path,label\na,x\nb,"y\nc,z\n', "line 3: a quotation mark is opened and never closed.*Received: b,"),
        ('path,label\na,"x\nb,y\nc,"z"\n', "line 2: there is text after a closing quotation mark"),
        ('path,label\n"a" b,x\n', "line 2: there is text after a closing quotation mark"),
        (f'path,label\na,"{"x" * 140_000}', "line 2: a quotation mark is opened and never closed"),
        ("path,label\na,x\nb,y,z\n", r"line 3: expected 2 cells \(path, label\). Received 3: b, y, z"),
        ("path,label,split\na,x\n", r"line 2: expected 3 cells \(path, label, split\). Received 2"),
        ("path;label\na;x;y\n", "line 2: expected 2 cells"),
        ("path\tlabel\na x\n", "line 2: expected 2 cells"),
    ],
)
def test_read_broken_row_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_read_workbook_and_cut_utf16_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an Excel workbook") as error:
        read(tmp_path, b"PK\x03\x04rest")
    assert "CSV UTF-8" in (error.value.hint or "")
    with pytest.raises(InputError, match="begins like UTF-16 text"):
        read(tmp_path, ROWS.encode("utf-16")[:-1])
