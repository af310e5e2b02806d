"""Exported files contain their metadata and predict like the model; a file that does not is not exported."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.exported_files import F32, FAULTS, INT8, with_changed_bytes
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.errors import GateError, ModelError, OutputError
from transfer_cli.export import merged_network, parity
from transfer_cli.export.export import export
from transfer_cli.export.output_folder import TABLE
from transfer_cli.export.results import check_results
from transfer_cli.inference.exported_model import SAVED_MODEL_METADATA, exported_metadata
from transfer_cli.inference.load import load
from transfer_cli.io.untrusted.names import LABELS_FILE
from transfer_cli.progress import SILENT

pytestmark = pytest.mark.integration

CLASSES = ("blue", "green", "red")


def test_export_writes_each_format_and_its_parity(exported: Path, trained: Path) -> None:
    table = json.loads((exported / TABLE).read_text())
    assert table["bundle"] == ModelBundle.read(trained)[0].digest
    assert [row["format"] for row in table["formats"]] == F32
    for row in table["formats"]:
        assert row["max_abs_diff"] <= parity.TOLERANCE
        assert (row["changed_labels"], row["failure"]) == (0, None)
        assert row["bytes"] > 100_000
        assert row["ms_per_image"] > 0
        assert (exported / row["file"]).exists()
    assert (exported / LABELS_FILE).read_text() == "blue\ngreen\nred\n"
    assert not [path.name for path in exported.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", F32)
def test_exported_metadata_describes_the_model(exported: Path, trained: Path, name: str) -> None:
    bundle = ModelBundle.read(trained)[0]
    metadata = exported_metadata(exported / export_formats.find(name).file)
    assert metadata.format == name
    assert metadata.class_names == CLASSES == bundle.class_names
    assert (metadata.image_size, metadata.resize, metadata.decoder) == (32, bundle.resize, bundle.decoder)
    assert metadata.bundle == bundle.digest


@pytest.mark.parametrize("name", [name for name in F32 if name != export_formats.SAVED_MODEL])
def test_exported_file_predicts_like_the_run(exported: Path, trained: Path, images: np.ndarray, name: str) -> None:
    run, file = load(str(trained)), load(str(exported / export_formats.find(name).file))
    assert file.class_names == run.class_names
    assert (file.image_size, file.resize) == (run.image_size, run.resize)
    np.testing.assert_allclose(file.predict_proba(images), run.predict_proba(images), atol=parity.TOLERANCE)


def test_load_saved_model_is_rejected(exported: Path) -> None:
    with pytest.raises(ModelError, match="SavedModel"):
        load(str(exported / "saved_model"))


@pytest.mark.parametrize("name", F32)
def test_exported_metadata_any_changed_byte_is_rejected(exported: Path, tmp_path: Path, name: str) -> None:
    spec = export_formats.find(name)
    for part in (*spec.companions, spec.file):
        copy = shutil.copytree if (exported / part).is_dir() else shutil.copyfile
        copy(exported / part, tmp_path / part)
    path = tmp_path / spec.file
    exported_metadata(path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    for file in files:
        for offset in with_changed_bytes(file, 200 // len(files)):
            assert _is_rejected(path), f"{file.name}, byte {offset}"
    exported_metadata(path)


def _is_rejected(path: Path) -> bool:
    try:
        exported_metadata(path)
    except ModelError:
        return True
    return False


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "keras"])
def test_load_wrong_number_of_class_names_is_rejected(
    exported: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = exported / export_formats.find(name).file
    wrong = exported_metadata(path).model_copy(update={"class_names": CLASSES[:2]})
    monkeypatch.setattr("transfer_cli.inference.exported_model.exported_metadata", lambda path: wrong)
    with pytest.raises(ModelError, match="model"):
        load(str(path)).predict_proba(images[:2])


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "keras"])
def test_load_wrong_image_size_is_a_model_error(
    exported: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = exported / export_formats.find(name).file
    wrong = exported_metadata(path).model_copy(update={"image_size": 16})
    monkeypatch.setattr("transfer_cli.inference.exported_model.exported_metadata", lambda path: wrong)
    with pytest.raises(ModelError, match=path.name):
        load(str(path)).predict_proba(images[:2, ::2, ::2])


def test_load_run_with_the_name_of_an_exported_file(trained: Path, tmp_path: Path, images: np.ndarray) -> None:
    run = shutil.copytree(trained, tmp_path / "first.onnx")
    assert load(str(run)).predict_proba(images[:2]).shape == (2, 3)


@pytest.mark.parametrize("name", [export_formats.SAVED_MODEL, export_formats.OPENVINO])
def test_exported_metadata_missing_companion_is_rejected(exported: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    spec = export_formats.find(name)
    files = [copy / part for part in spec.companions] or [copy / spec.file / "saved_model.pb"]
    exported_metadata(copy / spec.file)
    files[0].unlink()
    with pytest.raises(ModelError, match="missing"):
        exported_metadata(copy / spec.file)


def test_exported_metadata_additional_file_in_saved_model_is_rejected(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported / "saved_model", copy)
    (copy / "assets" / "more").write_text("more")
    with pytest.raises(ModelError, match="more"):
        exported_metadata(copy)
    assert (copy / SAVED_MODEL_METADATA).is_file()


@pytest.mark.parametrize("name", F32)
def test_exported_metadata_renamed_file_is_read(exported: Path, tmp_path: Path, name: str) -> None:
    spec = export_formats.find(name)
    for file in (spec.file, *spec.companions):
        copy = tmp_path / f"mine{Path(file).suffix}"
        shutil.copytree(exported / file, copy) if (exported / file).is_dir() else shutil.copy(exported / file, copy)
    assert exported_metadata(tmp_path / f"mine{Path(spec.file).suffix}").format == name


def test_exported_metadata_checks_the_weights_that_the_runtime_opens(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "model.xml", tmp_path / "mine.xml")
    shutil.copy(exported / "model.bin", tmp_path / "model.bin")
    weights = bytearray((exported / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "mine.bin").write_bytes(weights)
    with pytest.raises(ModelError, match=r"mine\.bin was altered"):
        exported_metadata(tmp_path / "mine.xml")


def test_exported_archives_contain_the_labels(exported: Path) -> None:
    for name in ("model.tflite", "model.keras"):
        with zipfile.ZipFile(exported / name) as archive:
            assert archive.read(LABELS_FILE) == b"blue\ngreen\nred\n"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [export_formats.LITERT, export_formats.ONNX])
def test_export_file_with_other_predictions_is_rejected(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    _check_rejected(trained, tmp_path, monkeypatch, name, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_export_int8_file_with_other_predictions_is_rejected(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    _check_rejected(pretrained, tmp_path, monkeypatch, export_formats.LITERT_INT8, fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*F32, *INT8])
def test_export_every_format_with_other_predictions_is_rejected(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    _check_rejected(pretrained, tmp_path, monkeypatch, name, fault)


def _check_rejected(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str) -> None:
    merge = merged_network.merge_model
    monkeypatch.setattr(merged_network, "merge_model", lambda *bundle: FAULTS[fault](merge(*bundle)))
    target = tmp_path / "export"
    target.mkdir()
    (target / export_formats.find(name).file).write_bytes(b"of an earlier export")
    results = export(str(run), [export_formats.find(name)], target, progress=SILENT)
    assert results[0].path is None
    assert results[0].failure
    assert sorted(path.name for path in target.iterdir()) == [LABELS_FILE, TABLE]
    with pytest.raises(GateError, match=rf"Not exported: predictions differ from the model's:\n{name}: "):
        check_results(results)


@pytest.mark.parametrize("name", INT8)
def test_export_int8_reports_the_accuracy_drop(pretrained: Path, tmp_path: Path, name: str) -> None:
    result = export(str(pretrained), [export_formats.find(name)], tmp_path, progress=SILENT)[0]
    assert result.drop is not None
    assert result.drop.split == "test"
    assert result.drop.low is None or result.drop.low <= result.drop.points <= result.drop.high
    assert result.failure is None, result.failure
    assert exported_metadata(tmp_path / result.spec.file).format == name
    (row,) = json.loads((tmp_path / TABLE).read_text())["formats"]
    assert row["accuracy_drop"] == vars(result.drop)


def test_export_int8_above_max_drop_is_rejected(pretrained: Path, tmp_path: Path) -> None:
    spec = export_formats.find(export_formats.LITERT_INT8)
    result = export(str(pretrained), [spec], tmp_path, max_drop=-101, progress=SILENT)[0]
    assert result.failure
    assert "more than --max-drop -101" in result.failure
    assert not (tmp_path / spec.file).exists()
    with pytest.raises(GateError) as alone:
        check_results([result])
    assert str(alone.value.hint).startswith("Export in float32")
    written = replace(result, spec=export_formats.find(export_formats.LITERT), path=tmp_path / "x", failure=None)
    with pytest.raises(GateError) as beside:
        check_results([written, result])
    assert str(beside.value.hint).startswith("The float32 files are written")


def test_export_with_a_full_folder_for_temporary_files_names_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, images: object) -> None:
        raise OSError("497664 requested and 139136 written")  # of NumPy

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OutputError, match=r"folder for temporary files, .* is full: No space left on device"):
        export(str(trained), [export_formats.find("keras")], tmp_path / "new/export", progress=SILENT)
    assert list(tmp_path.iterdir()) == []
