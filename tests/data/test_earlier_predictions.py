"""Files that predictions may replace, and files that would be lost."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from transfer_cli.data.earlier_predictions import check_replaceable
from transfer_cli.data.predictions import Predictions, columns_of, writer_of
from transfer_cli.errors import OutputError

CLASSES = ("=ant", "bee", "wasp")
PROBABILITIES = np.array([[0.9, 0.06, 0.04], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], np.float32)
PATHS = ("a.jpg", "b, c.jpg", "d.jpg")
FORMATS = ("csv", "excel-csv", "jsonl", "table", "parquet", "xlsx")


def written(folder: Path, format: str, *, rejected: bool = False, top_k: int | None = None, **settings: object) -> Path:
    if format == "xlsx":
        pytest.importorskip("xlsxwriter")
    reasons = ("", "unlike the training images", "") if rejected else None
    batch = Predictions(PATHS, CLASSES, PROBABILITIES, reject_reasons=reasons, **settings)  # type: ignore[arg-type]
    target = io.BytesIO()
    writer = writer_of(format, target, columns_of(batch, top_k))
    writer.append(batch)
    writer.close()
    path = folder / f"predictions.{format}"
    path.write_bytes(target.getvalue())
    return path


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("settings", [{}, {"rejected": True}, {"top_k": 2}, {"thresholds": (0.3, 0.5, 0.4)}])
def test_earlier_predictions_are_replaceable(tmp_path: Path, format: str, settings: dict[str, object]) -> None:
    check_replaceable(written(tmp_path, format, **settings))  # type: ignore[arg-type]


def test_missing_and_empty_files_are_replaceable(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "missing.csv")
    (tmp_path / "empty.csv").touch()
    check_replaceable(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("format", "edit", "message"),
    [
        ("csv", lambda text: text.replace('"b, c.jpg",bee', '"b, c.jpg",wasp'), "b, c.jpg is wasp, predicted was bee"),
        ("csv", lambda text: text.replace("a.jpg,=ant", "a.jpg,spider"), "a.jpg is spider, predicted was =ant"),
        ("csv", lambda text: text.replace("a.jpg,=ant", "a.jpg,unknown"), "a.jpg is unknown, predicted was =ant"),
        ("excel-csv", lambda text: text.replace("a.jpg,'=ant", "a.jpg,bee"), "a.jpg is bee, predicted was =ant"),
        (
            "jsonl",
            lambda text: text.replace('"label": "bee"', '"label": "wasp"'),
            "b, c.jpg is wasp, predicted was bee",
        ),
    ],
)
def test_corrected_label_is_not_lost(
    tmp_path: Path, format: str, edit: Callable[[str], str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    path = written(tmp_path, format)
    edited = edit(path.read_text("utf-8"))
    assert edited != path.read_text("utf-8")
    path.write_text(edited, "utf-8")
    with pytest.raises(OutputError) as caught:
        check_replaceable(path)
    assert str(caught.value) == f"{path} has labels that were corrected, and they would be lost: {message}."
    assert caught.value.hint == "Choose another name with -o, or remove the file."


@pytest.mark.parametrize("label", ["bee", "hornet"])
def test_label_given_to_an_unknown_image_is_not_lost(tmp_path: Path, label: str) -> None:
    path = written(tmp_path, "csv", rejected=True)
    path.write_text(path.read_text().replace('"b, c.jpg",unknown', f'"b, c.jpg",{label}'))
    with pytest.raises(OutputError, match=f"b, c.jpg is {label}, predicted was unknown"):
        check_replaceable(path)


def test_corrections_of_a_spreadsheet_are_not_lost(tmp_path: Path) -> None:
    """A program that saves a CSV file with semicolons and decimal commas keeps the labels."""
    path = tmp_path / "predictions.csv"
    rows = ["path;label;confidence;p_ant;p_bee", "a.jpg;ant;0,9;0,9;0,1", "b.jpg;ant;0,8;0,2;0,8"]
    path.write_text("\r\n".join([*rows[:2], "", ""]), "utf-8-sig")
    check_replaceable(path)
    path.write_text("\r\n".join(rows), "utf-8-sig")
    with pytest.raises(OutputError, match=r"b\.jpg is ant, predicted was bee"):
        check_replaceable(path)


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"name,species\na.jpg,bee\n",
        b"path,species\na.jpg,bee\n",
        b"{}\n",
        b"[1]\n",
        b'{"path": "a.jpg", "label": "bee", "probabilities": {"bee": "much", "ant": 0}}\n',
        b'{"path": "a.jpg", "species": "bee"}\n',
        b'{"path": "a.jpg", "label": "bee"}\n[1]\n',
        b"PK\x03\x04",
        b"\xff\xd8\xff",
    ],
)
def test_other_files_are_not_lost(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"notes\.csv is not a file of predictions and would be lost\."):
        check_replaceable(path)


def test_changed_workbook_is_not_lost(tmp_path: Path) -> None:
    path = written(tmp_path, "xlsx")
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    properties = members["docProps/core.xml"]
    start = properties.index(b"<dcterms:modified")
    members["docProps/core.xml"] = properties[:start] + properties[start:].replace(b"1980", b"2026")
    with ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(OutputError, match="was changed, or written by another program, and would be lost"):
        check_replaceable(path)
