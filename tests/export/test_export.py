"""Exported files: what is in them, that they say the same, and that one that does not is not handed over."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, run_command
from tests.exported_files import F32, FAULTS, INT8, spoilt
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.data.decoding import batches
from transfer_cli.errors import GateError, InputError, ModelError, OutputError
from transfer_cli.export import export as exporting
from transfer_cli.export import merged_network, parity
from transfer_cli.export.output_folder import DRAFT, TABLE, must_be_free, write_down
from transfer_cli.export.saved_model import writer
from transfer_cli.inference.exported_model import SAVED_FACTS, facts_of
from transfer_cli.inference.load import load
from transfer_cli.io.untrusted.names import LABELS
from transfer_cli.progress import Silent

CLASSES = ("blue", "green", "red")


class Said(Silent):
    """Keeps what it was warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the run on the colours in all formats."""
    target = tmp_path_factory.mktemp("exported") / "export"
    made = exporting.export(str(trained), [export_formats.find(name) for name in F32], target)
    assert [each.refusal for each in made] == [None] * len(F32)
    return target


@pytest.fixture(scope="session")
def sharp(colours: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on the colours with real weights: eight bits lose what random ones multiply."""
    run = tmp_path_factory.mktemp("sharp") / "run"
    words = ["--backbone", TINY, "--set", "images.size=96", "-o", run]
    # 96 pixels have no weights of their own; those for 224 fit.
    file = shared / "keras_home" / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    done = run_command("extract", colours, *words, "--weights", file)
    assert done.code == 0, done.err
    return run


@pytest.fixture(scope="session")
def images(colours: Path) -> np.ndarray:
    """Return all colours as the model sees them."""
    paths = sorted(map(str, colours.rglob("*.png")))
    return np.concatenate([batch.images for batch in batches(paths, size=32, resize="squash", batch_size=32)])


def test_each_format_is_there_with_its_figures(exported: Path, trained: Path) -> None:
    said = json.loads((exported / TABLE).read_text())
    assert said["bundle"] == ModelBundle.read(trained)[0].digest
    assert [row["format"] for row in said["formats"]] == F32
    for row in said["formats"]:
        assert row["deviation"] <= parity.MOST_OFF
        assert (row["changed"], row["refusal"]) == (0, None)
        assert row["bytes"] > 100_000
        assert (exported / row["file"]).exists()
    assert (exported / LABELS).read_text() == "blue\ngreen\nred\n"
    assert not [path.name for path in exported.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", F32)
def test_each_file_says_what_it_is(exported: Path, trained: Path, name: str) -> None:
    bundle = ModelBundle.read(trained)[0]
    facts = facts_of(exported / export_formats.find(name).file)
    assert facts.format == name
    assert facts.class_names == CLASSES == bundle.class_names
    assert (facts.image_size, facts.resize, facts.decoder) == (32, bundle.resize, bundle.decoder)
    assert facts.bundle == bundle.digest


@pytest.mark.parametrize("name", [name for name in F32 if name != export_formats.SAVED_MODEL])
def test_a_file_predicts_what_the_run_does(exported: Path, trained: Path, images: np.ndarray, name: str) -> None:
    ours, theirs = load(str(trained)), load(str(exported / export_formats.find(name).file))
    assert theirs.class_names == ours.class_names
    assert (theirs.image_size, theirs.resize) == (ours.image_size, ours.resize)
    np.testing.assert_allclose(theirs.predict_proba(images), ours.predict_proba(images), atol=parity.MOST_OFF)


def test_a_saved_model_is_not_opened_to_predict(exported: Path) -> None:
    with pytest.raises(ModelError, match="SavedModel"):
        load(str(exported / "saved_model"))


@pytest.mark.parametrize("name", F32)
def test_a_changed_byte_is_seen_wherever_it_is(exported: Path, tmp_path: Path, name: str) -> None:
    spec = export_formats.find(name)
    for part in (*spec.companions, spec.file):
        copy = shutil.copytree if (exported / part).is_dir() else shutil.copyfile
        copy(exported / part, tmp_path / part)
    path = tmp_path / spec.file
    facts_of(path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    for file in files:
        for place in spoilt(file, 200 // len(files)):
            assert _is_refused(path), f"{file.name}, byte {place}"
    facts_of(path)


def _is_refused(path: Path) -> bool:
    try:
        facts_of(path)
    except ModelError:
        return True
    return False


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "keras"])
def test_a_file_that_says_of_itself_what_it_is_not_is_refused(
    exported: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = exported / export_formats.find(name).file
    wrong = facts_of(path).model_copy(update={"class_names": CLASSES[:2]})
    monkeypatch.setattr("transfer_cli.inference.exported_model.facts_of", lambda path: wrong)
    with pytest.raises(ModelError, match="does not fit"):
        load(str(path)).predict_proba(images[:2])


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "keras"])
def test_pictures_of_another_size_are_not_a_traceback(
    exported: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = exported / export_formats.find(name).file
    wrong = facts_of(path).model_copy(update={"image_size": 16})
    monkeypatch.setattr("transfer_cli.inference.exported_model.facts_of", lambda path: wrong)
    with pytest.raises(ModelError, match=path.name):
        load(str(path)).predict_proba(images[:2, ::2, ::2])


def test_a_run_may_be_called_like_a_format(trained: Path, tmp_path: Path, images: np.ndarray) -> None:
    run = shutil.copytree(trained, tmp_path / "first.onnx")
    assert load(str(run)).predict_proba(images[:2]).shape == (2, 3)


@pytest.mark.parametrize("name", [export_formats.SAVED_MODEL, export_formats.OPENVINO])
def test_what_belongs_together_is_there_together(exported: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    spec = export_formats.find(name)
    files = [copy / part for part in spec.companions] or [copy / spec.file / "saved_model.pb"]
    facts_of(copy / spec.file)
    files[0].unlink()
    with pytest.raises(ModelError, match="missing"):
        facts_of(copy / spec.file)


def test_a_saved_model_holds_nothing_else(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported / "saved_model", copy)
    (copy / "assets" / "more").write_text("more")
    with pytest.raises(ModelError, match="more"):
        facts_of(copy)
    assert (copy / SAVED_FACTS).is_file()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [export_formats.LITERT, export_formats.ONNX])
def test_a_file_that_says_something_else_is_not_handed_over(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    _must_be_refused(trained, tmp_path, monkeypatch, name, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_nor_is_one_in_eight_bits(sharp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    _must_be_refused(sharp, tmp_path, monkeypatch, export_formats.LITERT_INT8, fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*F32, *INT8])
def test_no_format_hides_a_fault(
    sharp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    _must_be_refused(sharp, tmp_path, monkeypatch, name, fault)


def _must_be_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str) -> None:
    right = merged_network.whole_network
    monkeypatch.setattr(merged_network, "whole_network", lambda *bundle: FAULTS[fault](right(*bundle)))
    target = tmp_path / "export"
    target.mkdir()
    (target / export_formats.find(name).file).write_bytes(b"of an earlier export")
    made = exporting.export(str(trained), [export_formats.find(name)], target)
    assert made[0].path is None
    assert made[0].refusal
    assert sorted(path.name for path in target.iterdir()) == [LABELS, TABLE]
    with pytest.raises(GateError, match=name):
        exporting.judge(made)


def test_what_a_saved_model_decodes_is_told_by_its_content_and_comes_from_everywhere(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    files = [tmp_path / f"{number:02}.jpg" for number in range(40)]
    for number, path in enumerate(files):
        image.save(path, format=("JPEG", "PNG", "BMP", "GIF")[number % 4])
    chosen = exporting._encoded(files)
    assert len(chosen) == len(set(chosen)) == 16
    assert all(row % 4 in (0, 1) for row in chosen)
    assert (chosen[0], chosen[-1]) == (0, 37)
    assert exporting._encoded(files[2:4]) == []


def test_a_saved_model_that_decodes_otherwise_is_not_handed_over(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = writer.decode_graph
    monkeypatch.setattr(writer, "decode_graph", lambda *words: right(*words)[..., ::-1])
    made = exporting.export(str(trained), [export_formats.find(export_formats.SAVED_MODEL)], tmp_path)[0]
    assert made.refusal is not None
    assert "decodes by itself" in made.refusal
    assert not (tmp_path / "saved_model").exists()


@pytest.mark.parametrize("name", INT8)
def test_int8_is_smaller_and_says_what_it_lost(sharp: Path, tmp_path: Path, name: str) -> None:
    made = exporting.export(str(sharp), [export_formats.find(name)], tmp_path)[0]
    assert made.drop is not None
    assert made.drop.part == "test"
    assert made.drop.low is None or made.drop.low <= made.drop.points <= made.drop.high
    assert made.refusal is None, made.refusal
    assert facts_of(tmp_path / made.spec.file).format == name


def test_an_int8_file_that_lost_too_much_is_not_handed_over(sharp: Path, tmp_path: Path) -> None:
    spec = export_formats.find(export_formats.LITERT_INT8)
    made = exporting.export(str(sharp), [spec], tmp_path, max_drop=-101)[0]
    assert made.refusal
    assert "points of accuracy lost on the" in made.refusal
    assert not (tmp_path / spec.file).exists()


def test_a_bundle_alone_needs_pictures(trained: Path, colours: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained / "model", bundle)
    spec = export_formats.find(export_formats.LITERT)
    with pytest.raises(InputError, match="without its run"):
        exporting.export(str(bundle), [spec], tmp_path / "export")
    made = exporting.export(str(bundle), [spec], tmp_path / "export", images=colours)
    assert made[0].refusal is None
    assert made[0].parity.images == 36
    with pytest.raises(InputError, match="train pictures"):
        exporting.export(
            str(bundle), [export_formats.find(export_formats.LITERT_INT8)], tmp_path / "export", images=colours
        )


def test_a_gate_of_a_picture_or_two_is_none(trained: Path, colours: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(trained / "model", tmp_path / "bundle")
    spec = export_formats.find(export_formats.LITERT)
    with pytest.raises(InputError, match="no folder"):
        exporting.export(str(bundle), [spec], tmp_path / "export", images=tmp_path / "nowhere")
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(next(colours.rglob("*.png")), broken)
    for number in range(20):
        (broken / f"{number}.png").write_bytes(b"none")
    with pytest.raises(InputError, match="1 of 21 pictures could be read"):
        exporting.export(str(bundle), [spec], tmp_path / "export", images=broken)


def test_pictures_that_are_gone_are_asked_for(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "folder.txt").write_text(str(tmp_path / "gone"))
    with pytest.raises(InputError, match="0 pictures were found") as error:
        exporting.export(str(copy_of_trained), [export_formats.find(export_formats.LITERT)], tmp_path / "export")
    assert "--images" in str(error.value.hint)


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    specs = [export_formats.find(export_formats.LITERT), export_formats.find(export_formats.SAVED_MODEL)]
    must_be_free(tmp_path / "nothing", specs)
    (tmp_path / "model.tflite").write_bytes(b"a year of work")
    with pytest.raises(OutputError, match=r"model\.tflite"):
        must_be_free(tmp_path, specs)
    (tmp_path / "model.tflite").unlink()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"a year of work")
    with pytest.raises(OutputError, match="saved_model"):
        must_be_free(tmp_path, specs)
    with pytest.raises(OutputError, match="is a file"):
        must_be_free(tmp_path / "saved_model" / "saved_model.pb", specs)


def test_our_own_file_is_replaced(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    must_be_free(copy, [export_formats.find(name) for name in F32])


@pytest.mark.parametrize("name", F32)
def test_a_file_may_be_called_otherwise(exported: Path, tmp_path: Path, name: str) -> None:
    spec = export_formats.find(name)
    for file in (spec.file, *spec.companions):
        place = tmp_path / f"mine{Path(file).suffix}"
        shutil.copytree(exported / file, place) if (exported / file).is_dir() else shutil.copy(exported / file, place)
    assert facts_of(tmp_path / f"mine{Path(spec.file).suffix}").format == name


def test_the_weights_that_are_opened_are_those_that_were_looked_at(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "model.xml", tmp_path / "mine.xml")
    shutil.copy(exported / "model.bin", tmp_path / "model.bin")
    weights = bytearray((exported / "model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "mine.bin").write_bytes(weights)
    with pytest.raises(ModelError, match=r"mine\.bin was altered"):
        facts_of(tmp_path / "mine.xml")


@pytest.mark.parametrize("name", [LABELS, TABLE, "model.bin"])
def test_what_lies_beside_an_exported_file_is_not_lost_either(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a year of work")
    with pytest.raises(OutputError, match=name):
        must_be_free(tmp_path, [export_formats.find(export_formats.OPENVINO)])


def test_a_saved_model_that_somebody_put_a_file_into_is_not_replaced(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "export"))
    (copy / "saved_model" / "notes.txt").write_text("a year of work")
    with pytest.raises(OutputError, match="saved_model"):
        must_be_free(copy, [export_formats.find(export_formats.SAVED_MODEL)])


def test_the_table_keeps_what_it_says_of_files_that_stay(exported: Path, trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "export"))
    (copy / "model.onnx").unlink()
    progress = Said()
    exporting.export(str(trained), [export_formats.find(export_formats.LITERT)], copy, progress=progress)
    rows = json.loads((copy / TABLE).read_text())["formats"]
    assert sorted(row["format"] for row in rows) == ["keras", "litert", "openvino", "saved-model"]
    assert not progress.warned
    table = json.loads((copy / TABLE).read_text())
    (copy / TABLE).write_text(json.dumps(table | {"bundle": "0" * 64}))
    exporting.export(str(trained), [export_formats.find(export_formats.LITERT)], copy, progress=progress)
    assert [row["format"] for row in json.loads((copy / TABLE).read_text())["formats"]] == ["litert"]
    assert len([text for text in progress.warned if "of another model" in text]) == 3


def test_what_a_process_that_died_has_left_is_removed_a_day_later(trained: Path, tmp_path: Path) -> None:
    old, new = tmp_path / f"{DRAFT}abcdefgh", tmp_path / f"{DRAFT}ijklmnop"
    for draft in (old, new):
        draft.mkdir()
        (draft / "model.keras").write_bytes(b"half")
    os.utime(old, (0, 0))
    write_down(tmp_path, ModelBundle.read(trained)[0], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((new.name, LABELS, TABLE))


def test_the_labels_travel_in_the_archives(exported: Path) -> None:
    for name in ("model.tflite", "model.keras"):
        with zipfile.ZipFile(exported / name) as archive:
            assert archive.read(LABELS) == b"blue\ngreen\nred\n"
