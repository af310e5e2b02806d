"""CSV for Excel: the locale decides on the signs, and no cell is a formula."""

from __future__ import annotations

import io
import locale

import pytest

from transfer_cli.io.excel_csv import ExcelCsv, ExcelDialect, as_text

POINT, COMMA = ExcelDialect(",", "."), ExcelDialect(";", ",")


@pytest.mark.parametrize(
    ("environment", "dialect"),
    [
        ({}, POINT),
        ({"LANG": "C.UTF-8"}, POINT),
        ({"LANG": "en_US.UTF-8"}, POINT),
        ({"LANG": "de_DE.UTF-8"}, COMMA),
        ({"LANG": "de_CH.UTF-8"}, POINT),
        ({"LANG": "es_MX.UTF-8"}, POINT),
        ({"LANG": "fr_FR@euro"}, COMMA),
        ({"LANG": "pt"}, COMMA),
        ({"LANG": "de_DE.UTF-8", "LC_NUMERIC": "en_GB.UTF-8"}, POINT),
        ({"LC_ALL": "da_DK.UTF-8", "LC_NUMERIC": "C", "LANG": "C"}, COMMA),
        ({"LC_ALL": "", "LANG": "it_IT"}, COMMA),
        ({"LANG": "nonsense"}, POINT),
    ],
)
def test_dialect_of_locale(environment: dict[str, str], dialect: ExcelDialect) -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    assert ExcelDialect.of_locale(environment) == dialect
    assert locale.setlocale(locale.LC_NUMERIC) == before


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (POINT, 'path,p\r\n"a,b;c.jpg",0.333333\r\n"say ""x""",1.23457e-07\r\n\'=1+1,1\r\n"\'\r=x","12"\r\n'),
        (COMMA, 'path;p\r\n"a,b;c.jpg";0,333333\r\n"say ""x""";1,23457e-07\r\n\'=1+1;1\r\n"\'\r=x";"12"\r\n'),
    ],
)
def test_excel_csv_whole_file(dialect: ExcelDialect, expected: str) -> None:
    target = io.BytesIO()
    table = ExcelCsv(target, dialect)
    for row in (["path", "p"], ["a,b;c.jpg", 1 / 3], ['say "x"', 1.2345678e-07], ["=1+1", 1], ["\r=x", 12]):
        table.append(row)
    table.close()
    assert target.getvalue() == b"\xef\xbb\xbf" + expected.encode()


def test_excel_csv_odd_names_are_valid_utf8() -> None:
    target = io.BytesIO()
    ExcelCsv(target, POINT).append([b"\xff.jpg".decode("utf-8", "surrogateescape")])
    assert target.getvalue() == b"\xef\xbb\xbf\\xff.jpg\r\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "  =", " -"])
def test_as_text_formulas_are_escaped(start: str) -> None:
    assert as_text(f"{start}cmd|'/c calc'!A1") == f"'{start}cmd|'/c calc'!A1"


@pytest.mark.parametrize("text", ["", "red fox", "a=b", "a/-b.jpg", "1-2", "ä"])
def test_as_text_other_text_stays(text: str) -> None:
    """Planted fault for the test above: what is no formula is not changed."""
    assert as_text(text) == text
