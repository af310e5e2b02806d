"""``transfer-cli export`` as a person meets it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import TINY_WORDS, run_command
from tests.exported_files import FAULTS, spoilt
from transfer_cli.cli.main import main


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the run with a LiteRT and an ONNX file in it, made by the command."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "first"))
    done = invoke("export", copy, "--format", "litert,onnx")
    assert done.exit_code == 0, done.stderr
    return copy


def test_the_table_says_how_each_was_tried(run: Path) -> None:
    done = invoke("export", run, "--format", "litert", "--format", "onnx")
    assert done.exit_code == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split("  ")[0] == "format"
    assert [row.split()[:2] for row in rows] == [["litert", "model.tflite"], ["onnx", "model.onnx"]]
    assert all(" 0 of " in row for row in rows)
    assert str(run / "export") in done.stderr


def test_the_same_as_json(run: Path) -> None:
    done = invoke("--json", "--quiet", "export", run)
    said = json.loads(done.stdout)
    assert said["output"] == str(run / "export")
    assert [row["file"] for row in said["formats"]] == ["model.tflite"]


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_predict_takes_the_file_as_it_takes_the_run(run: Path, colours: Path, name: str) -> None:
    ours, theirs = (invoke("predict", model, colours) for model in (run, run / "export" / name))
    assert theirs.exit_code == ours.exit_code == 0, theirs.stderr
    tables = [list(csv.DictReader(io.StringIO(done.stdout))) for done in (ours, theirs)]
    assert [row.keys() for row in tables[0]] == [row.keys() for row in tables[1]]
    for mine, other in zip(*tables, strict=True):
        assert (mine["path"], mine["label"]) == (other["path"], other["label"])
        for column in mine:
            if column.startswith(("p_", "confidence")):
                assert float(mine[column]) == pytest.approx(float(other[column]), abs=1e-4)


def test_an_altered_file_is_refused_with_exit_code_4(run: Path, colours: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(run / "export" / "model.tflite", tmp_path))
    for _ in spoilt(copy, 3):
        done = invoke("predict", copy, colours)
        assert done.exit_code == 4
        assert "altered" in done.stderr


def test_a_file_of_another_program_is_refused(colours: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.tflite", "model.xml", "model.keras"):
        (tmp_path / name).write_bytes(b"from elsewhere")
        done = invoke("predict", tmp_path / name, colours)
        assert done.exit_code == 4
        assert "does not say what it is" in done.stderr
    done = invoke("predict", tmp_path / "missing.onnx", colours)
    assert done.exit_code == 4
    assert "There is no file" in done.stderr


def test_a_gate_that_is_not_passed_ends_with_6(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transfer_cli.export import merged_network

    right = merged_network.whole_network
    monkeypatch.setattr(merged_network, "whole_network", lambda *bundle: FAULTS["channels swapped"](right(*bundle)))
    done = invoke("export", run, "-o", tmp_path / "out")
    assert done.exit_code == 6
    assert "refused" in done.stdout
    assert "Not handed over" in done.stderr
    assert not (tmp_path / "out" / "model.tflite").exists()


def test_an_unknown_format_names_the_nearest(run: Path) -> None:
    done = invoke("export", run, "--format", "tflite,onx")
    assert done.exit_code == 2
    done = invoke("export", run, "--format", "onx")
    assert done.exit_code == 2
    assert "Did you mean onnx?" in done.stderr


@pytest.mark.parametrize("given", ["", " , ", "all,onx"])
def test_no_format_or_a_slip_beside_all_is_said_before_any_work(run: Path, given: str) -> None:
    done = invoke("export", run, "--format", given)
    assert done.exit_code == 2, done.stderr
    assert "There is no format called" in done.stderr


def test_all_of_a_bundle_on_its_own_is_all_that_needs_no_run(run: Path, tmp_path: Path) -> None:
    from transfer_cli.export.export import formats_for

    bundle = shutil.copytree(run / "model", tmp_path / "bundle")
    assert {spec.precision for spec in formats_for(str(run), ["all"])} == {"f32", "int8"}
    assert {spec.precision for spec in formats_for(str(bundle), ["all"])} == {"f32"}


def test_the_runtime_of_a_file_is_its_own(run: Path, colours: Path) -> None:
    done = invoke("predict", run / "export" / "model.tflite", colours, "--runtime", "keras")
    assert done.exit_code == 4
    assert "its own runtime" in done.stderr


def test_what_the_model_cannot_judge_stays_with_the_run(run: Path, colours: Path) -> None:
    done = invoke("predict", run / "export" / "model.tflite", colours, "--unknown")
    assert done.exit_code == 4, done.stderr


@pytest.mark.parametrize("name", ["random-forest"])
def test_a_classifier_that_is_no_layer_goes_to_onnx_alone(colours: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "forest"
    assert run_command("extract", colours, *TINY_WORDS, "--classifier", name, "-o", run).code == 0
    done = invoke("export", run)
    assert done.exit_code == 4
    assert "onnx" in done.stderr
    done = invoke("export", run, "--format", "onnx")
    assert done.exit_code == 0, done.stderr
    ours, theirs = (invoke("predict", model, colours) for model in (run, run / "export" / "model.onnx"))
    labels = [[row["label"] for row in csv.DictReader(io.StringIO(done.stdout))] for done in (ours, theirs)]
    assert labels[0] == labels[1]
