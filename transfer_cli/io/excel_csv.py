"""CSV files for Excel: a byte order mark, the delimiter and decimal sign of the locale, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import locale
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO

from transfer_cli.text import utf8

DIGITS = 6
"""Significant digits of a number: more only fill the cells."""
# Excel takes a cell that begins with one of these for a formula; the wide ones are typed in East Asia.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_VARIABLES = ("LC_ALL", "LC_NUMERIC", "LANG")
_COMMA_LANGUAGES = (
    "af az be bg bs ca cs da de el es et eu fi fo fr gl hr hu hy id is it ka kk ky lt lv mk nb nl nn no pl pt ro ru sk "
    "sl sq sr sv tr uk uz vi"
)
"""Languages whose decimals follow a comma, for a locale that is named but not installed."""
_POINT_REGIONS = "CH DO GT HN LI MX NI PA PE PR SV US"
"""Regions of these languages whose decimals follow a point."""


@dataclass(frozen=True)
class ExcelDialect:
    """How Excel expects a CSV file in some region.

    Attributes
    ----------
    delimiter : {",", ";"}
    decimal : {".", ","}
    """

    delimiter: str
    decimal: str

    @classmethod
    def of_locale(cls, environment: Mapping[str, str] = os.environ) -> ExcelDialect:
        """Return the dialect of the user's locale: a semicolon between cells where decimals follow a comma."""
        return cls(";", ",") if _decimal_sign(environment) == "," else cls(",", ".")


class ExcelCsv:
    """Writes rows to a binary file as CSV for Excel.

    Parameters
    ----------
    target : binary file
    dialect : ExcelDialect, optional
        Default: that of the user's locale.
    """

    def __init__(self, target: IO[bytes], dialect: ExcelDialect | None = None) -> None:
        self._target, self._dialect = target, dialect or ExcelDialect.of_locale()
        target.write(b"\xef\xbb\xbf")

    def append(self, row: Sequence[str | float]) -> None:
        """Add a row of text and numbers."""
        text = io.StringIO(newline="")
        cells = [self._number(cell) if isinstance(cell, int | float) else as_text(cell) for cell in row]
        writer = partial(csv.writer, text, delimiter=self._dialect.delimiter, lineterminator="\r\n")
        # A carriage return ends a row when it is read, but Python's writer does not quote it.
        has_return = any("\r" in cell for cell in cells)
        writer(quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL).writerow(cells)
        self._target.write(utf8(text.getvalue()).encode())

    def close(self) -> None:
        """Finish the table."""
        self._target.flush()

    def _number(self, value: float) -> str:
        return f"{value:.{DIGITS}g}".replace(".", self._dialect.decimal)


def as_text(cell: str) -> str:
    """Return a cell that Excel shows as text: one that it would take for a formula begins with an apostrophe.

    Examples
    --------
    >>> as_text("=1+1"), as_text("red fox")
    ("'=1+1", 'red fox')
    """
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) or cell.lstrip().startswith(_FORMULA_STARTS) else cell


def _decimal_sign(environment: Mapping[str, str]) -> str:
    name = next((environment[variable] for variable in _VARIABLES if environment.get(variable)), "")
    if name.split(".")[0] in ("C", "POSIX"):
        return "."
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        # Set for a moment only: libraries read numbers by it.
        locale.setlocale(locale.LC_NUMERIC, name)
        return str(locale.localeconv()["decimal_point"])
    except locale.Error:
        language, _, region = name.split(".")[0].split("@")[0].partition("_")
        return "," if language in _COMMA_LANGUAGES.split() and region not in _POINT_REGIONS.split() else "."
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
