"""Excel workbooks (.xlsx), written row by row: text is never a formula, numbers stay numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from io import UnsupportedOperation
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from transfer_cli.errors import MissingExtraError, OutputError
from transfer_cli.io.drafts import new_folder, remove_folder, room_for
from transfer_cli.text import utf8

SUFFIX = ".xlsx"
_CREATED = datetime(1980, 1, 1)
"""The same rows give the same bytes."""
_TIMES = 2
"""Of creation and of the last change."""
_MAX_ROWS, _MAX_COLUMNS, _MAX_TEXT = 1_048_576, 16_384, 32_767
"""Limits of Excel."""
_OTHER_FORMAT = "Write CSV or Parquet, which have no such limit: -o FILE.csv"


def check_installed() -> None:
    """Raise MissingExtraError, with the command to install it, if the package for workbooks is missing."""
    if find_spec("xlsxwriter") is None:
        raise MissingExtraError(
            "An Excel workbook (.xlsx) needs the package xlsxwriter, which is not installed.",
            hint="Install it: pip install 'transfer-cli[xlsx]'. Or write CSV for Excel: --for-excel -o FILE.csv",
        )


def is_untouched(path: Path) -> bool:
    """Whether a workbook is as `Workbook` wrote it: other programs note the time at which they change a file."""
    try:
        with ZipFile(path) as archive:
            properties = archive.read("docProps/core.xml")
    except (BadZipFile, KeyError, OSError):
        return False
    return properties.count(f"{_CREATED.isoformat()}Z".encode()) == _TIMES


class Workbook:
    """Writes rows to a binary file as one sheet; memory use does not depend on their number.

    Parameters
    ----------
    target : binary file

    Raises
    ------
    MissingExtraError
        If the package for it is not installed.
    """

    def __init__(self, target: IO[bytes]) -> None:
        check_installed()
        import xlsxwriter

        self._folder = new_folder()
        settings = {"constant_memory": True, "tmpdir": str(self._folder), "strings_to_urls": False}
        self._target = _Target(target)
        self._book: Any = xlsxwriter.Workbook(self._target, settings)
        self._book.set_properties({"created": _CREATED})
        self._sheet: Any = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._rows = 0

    def append(self, row: Sequence[str | float]) -> None:
        """Add a row of text and numbers.

        Raises
        ------
        OutputError
            If Excel could not open a table of this size, or the folder for temporary files is full.
        """
        if self._rows == _MAX_ROWS or len(row) > _MAX_COLUMNS:
            limit = f"{_MAX_ROWS:,} rows and {_MAX_COLUMNS:,} columns"
            self.discard()
            raise OutputError(f"A sheet of an Excel workbook has {limit} at most.", hint=_OTHER_FORMAT)
        with room_for(self._folder):
            for column, cell in enumerate(row):
                if isinstance(cell, str):
                    # Not write(), which makes formulas, links and numbers of text.
                    self._sheet.write_string(self._rows, column, utf8(cell)[:_MAX_TEXT])
                else:
                    self._sheet.write_number(self._rows, column, cell)
        self._rows += 1

    def close(self) -> None:
        """Write the file.

        Raises
        ------
        OSError, OutputError
            If it cannot be written, or the folder for temporary files is full.
        """
        from xlsxwriter.exceptions import FileCreateError

        try:
            with room_for(self._folder):
                self._close(FileCreateError)
        finally:
            remove_folder(self._folder)
        if self._target.error is not None:
            raise self._target.error

    def _close(self, refused: type[Exception]) -> None:
        """Finish the file; an error of the file itself is kept in `_target`, others are raised."""
        try:
            self._book.close()
        except (OSError, refused) as error:
            self.discard()
            if self._target.error is None:
                raise error if isinstance(error, OSError) else error.args[0] from None

    def discard(self) -> None:
        """Write nothing, and remove the temporary files."""
        self._book.fileclosed = True
        with suppress(OSError):
            self._sheet._opt_close()
        remove_folder(self._folder)


class _Target:
    """A binary file that is written until an error, which is kept; the rest is swallowed.

    The zip file that xlsxwriter gives up would otherwise be finished by its destructor, in a file that is closed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._is_seekable = file, file.seekable()
        self._place = file.tell() if self._is_seekable else 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self._unless_failed(self._file.write, data)
        self._place += len(data)
        return len(data)

    def seek(self, place: int) -> int:
        if not self._is_seekable:
            raise UnsupportedOperation("a pipe has no places")
        self._unless_failed(self._file.seek, place)
        self._place = place
        return place

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        self._unless_failed(self._file.flush)

    def _unless_failed(self, call: Callable[..., object], *words: object) -> None:
        try:
            if self.error is None:
                call(*words)
        except OSError as error:
            self.error = error
            raise
