"""``transfer-cli export`` as users run it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import TINY_WORDS, run_command
from tests.exported_files import FAULTS, with_changed_bytes
from transfer_cli.cli.main import main

pytestmark = pytest.mark.integration


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the run with exported LiteRT and ONNX files."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "first"))
    result = invoke("export", copy, "--format", "litert,onnx")
    assert result.exit_code == 0, result.stderr
    return copy


def test_export_prints_parity_table(run: Path) -> None:
    result = invoke("export", run, "--format", "litert", "--format", "onnx")
    assert result.exit_code == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split("  ")[0] == "format"
    assert [row.split()[:2] for row in rows] == [["litert", "model.tflite"], ["onnx", "model.onnx"]]
    assert all(" 0 of " in row for row in rows)
    assert str(run / "export") in result.stderr


def test_export_json_lists_files(run: Path) -> None:
    result = invoke("--json", "--quiet", "export", run)
    message = json.loads(result.stdout)
    assert message["output"] == str(run / "export")
    assert [row["file"] for row in message["formats"]] == ["model.tflite"]


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_predict_exported_file_equals_run(run: Path, colours: Path, name: str) -> None:
    ours, theirs = (invoke("predict", model, colours) for model in (run, run / "export" / name))
    assert theirs.exit_code == ours.exit_code == 0, theirs.stderr
    tables = [list(csv.DictReader(io.StringIO(result.stdout))) for result in (ours, theirs)]
    assert [row.keys() for row in tables[0]] == [row.keys() for row in tables[1]]
    for mine, other in zip(*tables, strict=True):
        assert (mine["path"], mine["label"]) == (other["path"], other["label"])
        for column in mine:
            if column.startswith(("p_", "confidence")):
                assert float(mine[column]) == pytest.approx(float(other[column]), abs=1e-4)


def test_predict_altered_export_exits_with_4(run: Path, colours: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(run / "export" / "model.tflite", tmp_path))
    for _ in with_changed_bytes(copy, 3):
        result = invoke("predict", copy, colours)
        assert result.exit_code == 4
        assert "altered" in result.stderr


def test_predict_foreign_file_exits_with_4(colours: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.tflite", "model.xml", "model.keras"):
        (tmp_path / name).write_bytes(b"from elsewhere")
        result = invoke("predict", tmp_path / name, colours)
        assert result.exit_code == 4
        assert "has no transfer-cli metadata" in result.stderr
    result = invoke("predict", tmp_path / "missing.onnx", colours)
    assert result.exit_code == 4
    assert "There is no exported model at" in result.stderr


def test_export_failed_parity_exits_with_6(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer_cli.export import merged_network

    right = merged_network.merge_model
    monkeypatch.setattr(merged_network, "merge_model", lambda *bundle: FAULTS["channels swapped"](right(*bundle)))
    result = invoke("export", run, "-o", tmp_path / "out")
    assert result.exit_code == 6
    assert "not exported" in result.stdout
    assert "Not exported: predictions differ from the model's:" in result.stderr
    assert not (tmp_path / "out" / "model.tflite").exists()


def test_export_unknown_format_suggests_nearest(run: Path) -> None:
    result = invoke("export", run, "--format", "tflite,onx")
    assert result.exit_code == 2
    result = invoke("export", run, "--format", "onx")
    assert result.exit_code == 2
    assert "Did you mean onnx?" in result.stderr


@pytest.mark.parametrize("given", ["", " , ", "all,onx"])
def test_export_empty_or_mistyped_format_fails_before_work(run: Path, given: str) -> None:
    result = invoke("export", run, "--format", given)
    assert result.exit_code == 2, result.stderr
    assert "There is no export format called" in result.stderr


def test_export_all_of_bundle_excludes_int8(run: Path, tmp_path: Path) -> None:
    from transfer_cli.export.format_selection import select_formats

    bundle = shutil.copytree(run / "model", tmp_path / "bundle")
    assert {spec.precision for spec in select_formats(str(run), ["all"])} == {"f32", "int8"}
    assert {spec.precision for spec in select_formats(str(bundle), ["all"])} == {"f32"}


def test_predict_exported_file_rejects_runtime_option(run: Path, colours: Path) -> None:
    result = invoke("predict", run / "export" / "model.tflite", colours, "--runtime", "keras")
    assert result.exit_code == 4
    assert "runs on its own runtime" in result.stderr


def test_predict_exported_file_rejects_unknown_option(run: Path, colours: Path) -> None:
    result = invoke("predict", run / "export" / "model.tflite", colours, "--unknown")
    assert result.exit_code == 4, result.stderr


@pytest.mark.parametrize("name", ["random-forest"])
def test_export_random_forest_only_to_onnx(colours: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "forest"
    assert run_command("extract", colours, *TINY_WORDS, "--classifier", name, "-o", run).code == 0
    result = invoke("export", run)
    assert result.exit_code == 4
    assert "onnx" in result.stderr
    result = invoke("export", run, "--format", "onnx")
    assert result.exit_code == 0, result.stderr
    ours, theirs = (invoke("predict", model, colours) for model in (run, run / "export" / "model.onnx"))
    labels = [[row["label"] for row in csv.DictReader(io.StringIO(result.stdout))] for result in (ours, theirs)]
    assert labels[0] == labels[1]
