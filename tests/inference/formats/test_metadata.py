from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import SEAL
from transfer_cli.inference.formats.metadata import FORMAT_VERSION, ExportedFacts
from transfer_cli.inference.formats.zip_metadata import facts_in
from transfer_cli.io.untrusted.names import FACTS as FACTS_NAME

FACTS = ExportedFacts(
    format="onnx",
    task="single-label",
    class_names=("cat", 'a "dog"', "Wölfe"),
    image_size=32,
    resize="squash",
    decoder="pillow-opencv-2",
    backbone="mobilenet@0.25",
    bundle="0" * 64,
    version="0.1.0",
)


def test_what_is_said_is_read_again() -> None:
    assert ExportedFacts.of_json(FACTS.json_text(), "here") == FACTS


def test_it_keeps_a_place_for_the_digest_and_is_plain_ascii() -> None:
    text = FACTS.json_text()
    assert SEAL in text
    assert text.isascii()
    assert SEAL not in FACTS.json_text(seal="")


def test_labels_are_one_a_line_whatever_a_folder_was_called() -> None:
    names = FACTS.model_copy(update={"class_names": ("cat", "two\nlines", "dog")})
    assert names.labels_text == "cat\ntwo lines\ndog\n"


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("format_version", FORMAT_VERSION + 1, "newer"),
        ("format_version", "1", "newer"),
        ("image_size", 0, "image_size"),
        ("image_size", 10**9, "image_size"),
        ("class_names", [], "class names"),
        ("class_names", ["a", "a"], "class names"),
        ("thresholds", [0.5, 0.5, 0.5], "thresholds"),
        ("resize", "stretch", "resize"),
        ("task", "regression", "task"),
        ("more", 1, "more"),
    ],
)
def test_what_does_not_fit_is_refused(word: str, value: Any, said: str) -> None:
    with pytest.raises(ModelError) as error:
        ExportedFacts.of_json(json.dumps(json.loads(FACTS.json_text()) | {word: value}), "here")
    assert said in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"image_size"', '"task": "single-label", "image_size"'), "twice"),
        (lambda text: text.replace('"thresholds": null', '"thresholds": [NaN, NaN, NaN]'), "NaN"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 0'), "version"),
        (lambda text: text.replace('"format_version": 1', '"format_version": true'), "version"),
    ],
)
def test_a_statement_is_read_as_strictly_as_a_manifest(change: Callable[[str], str], said: str) -> None:
    text = FACTS.json_text()
    assert change(text) != text
    with pytest.raises(ModelError, match=said):
        ExportedFacts.of_json(change(text), "here")


def test_what_a_file_says_wrongly_is_not_repeated_at_length() -> None:
    long = json.loads(FACTS.json_text()) | {"task": "x" * 100_000, "image_size": "y" * 100_000}
    with pytest.raises(ModelError, match="task") as error:
        ExportedFacts.of_json(json.dumps(long), "here")
    assert len(str(error.value)) < 1000
    assert "http" not in str(error.value)


def test_several_labels_have_a_threshold_each() -> None:
    several = json.loads(FACTS.json_text()) | {"task": "multi-label", "thresholds": [0.5, 0.4]}
    with pytest.raises(ModelError, match="threshold"):
        ExportedFacts.of_json(json.dumps(several), "here")
    assert ExportedFacts.of_json(json.dumps(several | {"thresholds": [0.5, 0.4, 0.3]}), "here").thresholds


@pytest.mark.parametrize("text", ["", "[]", "{}", "1", "{" * 100_000, b"\xff"])
def test_what_is_no_statement_is_refused(text: str | bytes) -> None:
    with pytest.raises(ModelError, match="does not say what it is"):
        ExportedFacts.of_json(text, "here")


def test_an_archive_that_is_damaged_within_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FACTS_NAME, FACTS.json_text())
    assert facts_in(path) == FACTS
    data = bytearray(path.read_bytes())
    data[30 + len(FACTS_NAME)] = 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelError, match="does not say what it is"):
        facts_in(path)
