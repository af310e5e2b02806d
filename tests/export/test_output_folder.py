"""An export overwrites nothing but exports, and parity.json keeps the rows of files that remain."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.exported_files import F32
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.errors import OutputError
from transfer_cli.export.export import export
from transfer_cli.export.output_folder import DRAFT, TABLE, check_output_folder, write_parity_table
from transfer_cli.io.untrusted.names import LABELS_FILE
from transfer_cli.progress import Silent

pytestmark = pytest.mark.integration

LITERT, SAVED_MODEL = export_formats.find(export_formats.LITERT), export_formats.find(export_formats.SAVED_MODEL)


class RecordedWarnings(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_check_output_folder_rejects_foreign_files(tmp_path: Path) -> None:
    specs = [LITERT, SAVED_MODEL]
    check_output_folder(tmp_path / "nothing", specs)
    (tmp_path / "model.tflite").write_bytes(b"a year of work")
    with pytest.raises(OutputError, match=r"model\.tflite"):
        check_output_folder(tmp_path, specs)
    (tmp_path / "model.tflite").unlink()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"a year of work")
    with pytest.raises(OutputError, match="saved_model"):
        check_output_folder(tmp_path, specs)
    with pytest.raises(OutputError, match="is a file"):
        check_output_folder(tmp_path / "saved_model" / "saved_model.pb", specs)


def test_check_output_folder_accepts_an_earlier_export(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    check_output_folder(copy, [export_formats.find(name) for name in F32])


@pytest.mark.parametrize("name", [LABELS_FILE, TABLE, "model.bin"])
def test_check_output_folder_rejects_foreign_companions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a year of work")
    with pytest.raises(OutputError, match=name):
        check_output_folder(tmp_path, [export_formats.find(export_formats.OPENVINO)])


def test_check_output_folder_rejects_saved_model_with_another_file(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "export"))
    (copy / "saved_model" / "notes.txt").write_text("a year of work")
    with pytest.raises(OutputError, match="saved_model"):
        check_output_folder(copy, [SAVED_MODEL])


def test_parity_table_keeps_rows_of_the_same_model(exported: Path, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "export"))
    (copy / "model.onnx").unlink()
    progress = RecordedWarnings()
    export(str(trained), [LITERT], copy, progress=progress)
    rows = json.loads((copy / TABLE).read_text())["formats"]
    assert sorted(row["format"] for row in rows) == ["keras", "litert", "openvino", "saved-model"]
    assert not progress.warnings
    table = json.loads((copy / TABLE).read_text())
    (copy / TABLE).write_text(json.dumps(table | {"bundle": "0" * 64}))
    export(str(trained), [LITERT], copy, progress=progress)
    assert [row["format"] for row in json.loads((copy / TABLE).read_text())["formats"]] == ["litert"]
    assert len([text for text in progress.warnings if "exported from another model" in text]) == 3


def test_parity_table_removes_drafts_after_a_day(trained: Path, tmp_path: Path) -> None:
    old, new = tmp_path / f"{DRAFT}abcdefgh", tmp_path / f"{DRAFT}ijklmnop"
    for draft in (old, new):
        draft.mkdir()
        (draft / "model.keras").write_bytes(b"half")
    os.utime(old, (0, 0))
    write_parity_table(tmp_path, ModelBundle.read(trained)[0], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((new.name, LABELS_FILE, TABLE))
