"""Excel workbooks: text is text, numbers are numbers."""

from __future__ import annotations

import errno
import gc
import io
import re
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from transfer_cli.errors import MissingExtraError, OutputError
from transfer_cli.io import workbook
from transfer_cli.io.workbook import Workbook, check_installed


def sheet_of(rows: list[list[str | float]]) -> str:
    pytest.importorskip("xlsxwriter")
    target = io.BytesIO()
    book = Workbook(target)
    for row in rows:
        book.append(row)
    book.close()
    return ZipFile(target).read("xl/worksheets/sheet1.xml").decode()


def test_workbook_cells() -> None:
    xml = sheet_of([["path", "p"], ["=1+1", 0.1], ["http://a.b", 1 / 3], ["007", -1], ["\x1b\udcff", 0]])
    assert re.findall(r"<t[^>]*>(.*?)</t>", xml) == ["path", "p", "=1+1", "http://a.b", "007", r"_x001B_\xff"]
    assert re.findall(r"<v>(.*?)</v>", xml) == ["0.1", "0.3333333333333333", "-1", "0"]
    assert "<f>" not in xml
    assert "hyperlink" not in xml


def test_workbook_same_rows_give_the_same_bytes() -> None:
    pytest.importorskip("xlsxwriter")
    files = []
    for _ in range(2):
        target = io.BytesIO()
        book = Workbook(target)
        book.append(["a", 1.5])
        book.close()
        files.append(target.getvalue())
    assert files[0] == files[1]


def test_workbook_too_large_for_excel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_MAX_ROWS", 2)
    assert "row" in sheet_of([["a"], ["b"]])
    with pytest.raises(OutputError, match="has 2 rows and 16,384 columns at most") as caught:
        sheet_of([["a"], ["b"], ["c"]])
    assert caught.value.hint == "Write CSV or Parquet, which have no such limit: -o FILE.csv"


def test_workbook_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(MissingExtraError) as caught:
        check_installed()
    assert "pip install 'transfer-cli[xlsx]'" in str(caught.value.hint)
    assert caught.value.exit_code == 4


class _Full(io.BytesIO):
    """A file on a disk with room for some bytes."""

    room = 100

    def write(self, data: object) -> int:
        if self.tell() + len(bytes(data)) > self.room:  # type: ignore[call-overload]
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_workbook_on_a_full_disk_raises_and_leaves_nothing_to_destructors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xlsxwriter")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    target = _Full()
    book = Workbook(target)
    book.append(["path", 1.0])
    with pytest.raises(OSError, match="No space left on device") as info:
        book.close()
    assert info.value.errno == errno.ENOSPC
    target.close()
    del book, info
    gc.collect()  # pytest makes an error of an exception in a destructor
    assert list(tmp_path.glob("transfer-cli-*")) == []


def test_workbook_through_a_pipe() -> None:
    pytest.importorskip("xlsxwriter")

    class _Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    target = _Pipe()
    book = Workbook(target)
    book.append(["path", 1.0])
    book.close()
    assert "<v>1</v>" in ZipFile(io.BytesIO(target.getvalue())).read("xl/worksheets/sheet1.xml").decode()
