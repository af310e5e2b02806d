"""OpenVINO's files: what was written says what the network says, and hostile files are not opened."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.clothing_classifier import SIDE, Clothes, clothes
from transfer_cli.errors import InputError, MissingExtraError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export.openvino import write_openvino, write_openvino_int8
from transfer_cli.inference.formats.openvino import check_openvino, open_openvino
from transfer_cli.inference.litert_conversion import convert


@pytest.fixture(scope="module")
def given(shared: Path) -> Clothes:
    return clothes(shared)


@pytest.fixture(scope="module")
def graph(given: Clothes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "graph.tflite"
    convert(given.network, path)
    return path


@pytest.fixture(scope="module")
def written(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "network.xml"
    write_openvino(graph, path, {"labels": "hat <&> shoes"})
    return path


@pytest.fixture(scope="module")
def small(graph: Path, given: Clothes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino-int8") / "network.xml"
    write_openvino_int8(graph, SIDE, given.train[::8], path, {"labels": "hat shoes"})
    return path


def test_it_says_the_same(written: Path, given: Clothes) -> None:
    run = open_openvino(written)
    np.testing.assert_allclose(run(given.test), given.expected, atol=1e-4)
    assert run(given.test[:7]).shape == (7, 10)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(given.test[..., ::-1].copy()), given.expected, atol=1e-4)


def test_class_names_are_in_it(written: Path) -> None:
    from openvino import Core

    assert Core().read_model(written).get_rt_info(["model_info", "labels"]).astype(str) == "hat <&> shoes"


def test_eight_bits_say_nearly_the_same(small: Path, written: Path, given: Clothes) -> None:
    rows = open_openvino(small)(given.test)
    assert np.abs(rows - given.expected).max(axis=1).mean() < 0.12
    drop, _, high = accuracy_drop(given.truth, given.expected, rows)
    assert drop < 4
    assert high is None or high < 8
    sizes = [sum(path.with_suffix(end).stat().st_size for end in (".xml", ".bin")) for path in (small, written)]
    assert sizes[0] < 0.4 * sizes[1]


def test_nothing_is_said_and_no_torch_is_asked_for(
    graph: Path, given: Clothes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_openvino_int8(graph, SIDE, given.train[:4], tmp_path / "network.xml", {})
    assert capfd.readouterr() == ("", "")
    assert {"torch", "openvino_telemetry"}.isdisjoint(sys.modules)


def test_what_is_not_installed(graph: Path, given: Clothes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match="needs openvino and nncf") as caught:
        write_openvino_int8(graph, SIDE, given.train[:4], tmp_path / "a.xml", {})
    assert caught.value.hint == "Install what is missing: pip install 'transfer-cli[int8]'."
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="needs openvino, of which"):
        write_openvino(graph, tmp_path / "a.xml", {})


def test_pictures_of_another_size(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"\({SIDE}, {SIDE}, 3\). Received: uint8 of \(2, 8, 8, 3\)"):
        write_openvino_int8(graph, SIDE, [np.zeros((2, 8, 8, 3), np.uint8)], tmp_path / "a.xml", {})


LAUGHS = '<!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n<net'
CONVOLUTION = 'type="Convolution" version="opset1"'
FAULTS = {
    "billion laughs": ("<net", LAUGHS, "declares a document type"),
    "a file of the machine": ("<net", '<!DOCTYPE net SYSTEM "file:///etc/passwd">\n<net', "declares a document type"),
    "an instruction": ("<net", '<?xml-stylesheet href="a"?>\n<net', "or an instruction"),
    "an operation out of a library": (
        'type="Convolution" version="opset1"',
        'type="Mine" version="extension"',
        "'Mine'",
    ),
    "an unknown opset": (CONVOLUTION, 'type="Convolution" version="mine"', "out of 'mine'"),
    "a loop": (CONVOLUTION, 'type="Loop" version="opset5"', "'Loop'"),
    "a network within": ("<edges>", "<edges><body></body>", "part called 'body'"),
    "weights elsewhere": ('offset="0"', 'offset="99999999999"', "are not in its .bin"),
    "weights before": ('offset="0"', 'offset="-8"', "are not in its .bin"),
    "another input": ('element_type="u8"', 'element_type="f32"', "its input is f32"),
    "another size": (f"?,{SIDE},{SIDE},3", f"?,{SIDE},{SIDE},1", "its input is u8 of the shape"),
    "a fixed number of pictures": (f"?,{SIDE},{SIDE},3", f"1,{SIDE},{SIDE},3", "its input is u8 of the shape"),
    "another name": ('names="images"', 'names="images"', "no input is called images"),
    "no end": ("</net>", "", "could not be read"),
    "something else": ("<net", "<html", "mismatched tag|is a 'html'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hostile_file_is_not_opened(fault: str, written: Path, tmp_path: Path) -> None:
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


def test_files_that_are_missing_or_huge(written: Path, tmp_path: Path) -> None:
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
