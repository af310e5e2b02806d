"""OpenVINO files predict like the network, and hostile files are rejected."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.clothing_classifier import SIDE, ClothingClassifier, clothing_classifier
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export.openvino import write_openvino
from transfer_cli.inference.formats.openvino import check_openvino, open_openvino
from transfer_cli.inference.litert_conversion import convert


@pytest.fixture(scope="module")
def classifier(shared: Path) -> ClothingClassifier:
    return clothing_classifier(shared)


@pytest.fixture(scope="module")
def graph(classifier: ClothingClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "graph.tflite"
    convert(classifier.network, path)
    return path


@pytest.fixture(scope="module")
def written(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "network.xml"
    write_openvino(graph, path, {"labels": "hat <&> shoes"})
    return path


@pytest.fixture(scope="module")
def small(graph: Path, classifier: ClothingClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino-int8") / "network.xml"
    write_openvino(graph, path, {"labels": "hat shoes"}, classifier.train[::8])
    return path


def test_write_openvino_predicts_like_the_network(written: Path, classifier: ClothingClassifier) -> None:
    run = open_openvino(written)
    np.testing.assert_allclose(run(classifier.test), classifier.expected, atol=1e-4)
    assert run(classifier.test[:7]).shape == (7, 10)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(classifier.test[..., ::-1].copy()), classifier.expected, atol=1e-4)


def test_write_openvino_contains_the_labels(written: Path) -> None:
    from openvino import Core

    assert Core().read_model(written).get_rt_info(["model_info", "labels"]).astype(str) == "hat <&> shoes"


def test_write_openvino_int8_predicts_nearly_like_float32(
    small: Path, written: Path, classifier: ClothingClassifier
) -> None:
    rows = open_openvino(small)(classifier.test)
    assert np.abs(rows - classifier.expected).max(axis=1).mean() < 0.12
    drop, _, high = accuracy_drop(classifier.truth, classifier.expected, rows)
    assert drop < 4
    assert high is None or high < 8
    sizes = [sum(path.with_suffix(end).stat().st_size for end in (".xml", ".bin")) for path in (small, written)]
    assert sizes[0] < 0.4 * sizes[1]


def test_write_openvino_int8_prints_nothing_and_imports_no_torch(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_openvino(graph, tmp_path / "network.xml", {}, classifier.train[:4])
    assert capfd.readouterr() == ("", "")
    assert {"torch", "openvino_telemetry"}.isdisjoint(sys.modules)


def test_write_openvino_missing_package_names_the_extra(
    graph: Path, classifier: ClothingClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match="needs openvino and nncf") as caught:
        write_openvino(graph, tmp_path / "a.xml", {}, classifier.train[:4])
    assert caught.value.hint == "Install the missing package: pip install 'transfer-cli[int8]'."
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="needs openvino, which cannot be imported"):
        write_openvino(graph, tmp_path / "a.xml", {})


ENTITIES = '<!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n<net'
CONVOLUTION = 'type="Convolution" version="opset1"'
FAULTS = {
    "billion laughs": ("<net", ENTITIES, "declares a document type"),
    "external entity": ("<net", '<!DOCTYPE net SYSTEM "file:///etc/passwd">\n<net', "declares a document type"),
    "processing instruction": ("<net", '<?xml-stylesheet href="a"?>\n<net', "or an instruction"),
    "custom operation": (
        'type="Convolution" version="opset1"',
        'type="Mine" version="extension"',
        "'Mine'",
    ),
    "unknown opset": (CONVOLUTION, 'type="Convolution" version="mine"', "of 'mine'"),
    "loop": (CONVOLUTION, 'type="Loop" version="opset5"', "'Loop'"),
    "nested network": ("<edges>", "<edges><body></body>", "has an element 'body'"),
    "weights after the end": ('offset="0"', 'offset="99999999999"', "are not in its .bin"),
    "negative offset": ('offset="0"', 'offset="-8"', "are not in its .bin"),
    "float input": ('element_type="u8"', 'element_type="f32"', "its input is f32"),
    "one channel": (f"?,{SIDE},{SIDE},3", f"?,{SIDE},{SIDE},1", "its input is u8 of shape"),
    "fixed batch size": (f"?,{SIDE},{SIDE},3", f"1,{SIDE},{SIDE},3", "its input is u8 of shape"),
    "other input name": ('names="images"', 'names="inputs"', "no input named images"),
    "truncated": ("</net>", "", "could not be read"),
    "other root element": ("<net", "<html", "mismatched tag|root element is 'html'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_open_openvino_hostile_file_is_rejected(fault: str, written: Path, tmp_path: Path) -> None:
    old, new, reason = FAULTS[fault]
    text = written.read_text("utf-8")
    (tmp_path / "network.bin").write_bytes(written.with_suffix(".bin").read_bytes())
    text = text.replace(", ", ",") if old.startswith("?") else text
    (tmp_path / "network.xml").write_text(text)
    check_openvino(tmp_path / "network.xml")
    assert old in text
    (tmp_path / "network.xml").write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=reason):
        open_openvino(tmp_path / "network.xml")


def test_check_openvino_missing_or_large_files_are_rejected(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.xml"
    with pytest.raises(ModelError, match=r"network\.xml is missing"):
        check_openvino(path)
    path.write_bytes(written.read_bytes())
    with pytest.raises(ModelError, match=r"network\.bin is missing"):
        check_openvino(path)
    path.with_suffix(".bin").write_bytes(written.with_suffix(".bin").read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"are not in its \.bin"):
        check_openvino(path)
    with path.open("r+b") as file:
        file.truncate(65 << 20)
    with pytest.raises(ModelError, match="it has 65 MB"):
        check_openvino(path)


@pytest.mark.parametrize("encoding", ["utf-7", "utf-16", "utf-32", "latin-1", "cp037", "nonsense", "rot13"])
def test_check_openvino_other_encoding_is_rejected(encoding: str, written: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.xml"
    path.with_suffix(".bin").write_bytes(written.with_suffix(".bin").read_bytes())
    text = written.read_text("utf-8")
    declaration, rest = f'<?xml version="1.0" encoding="{encoding}"?>', text[text.index("<net") :]
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>{rest}')
    assert check_openvino(path) == SIDE
    path.write_text(declaration + rest)
    with pytest.raises(ModelError, match=r"network\.xml (was not opened: its encoding is|could not be read)"):
        check_openvino(path)
    if encoding in ("utf-7", "utf-16", "utf-32"):
        path.write_bytes((declaration + rest).encode(encoding))
        with pytest.raises(ModelError, match=r"network\.xml (was not opened|could not be read)"):
            check_openvino(path)


def test_open_openvino_other_size_than_its_metadata_is_rejected(written: Path) -> None:
    with pytest.raises(ModelError, match=f"says images of 2048 x 2048 pixels, its network takes {SIDE} x {SIDE}"):
        open_openvino(written, size=2048)
