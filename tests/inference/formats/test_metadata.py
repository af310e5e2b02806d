from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import DIGEST_PLACEHOLDER
from transfer_cli.inference.formats.metadata import FORMAT_VERSION, ExportMetadata

METADATA = ExportMetadata(
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


def test_from_json_reads_json_text() -> None:
    assert ExportMetadata.from_json(METADATA.json_text(), "here") == METADATA


def test_json_text_is_ascii_with_a_placeholder_for_the_digest() -> None:
    text = METADATA.json_text()
    assert DIGEST_PLACEHOLDER in text
    assert text.isascii()
    assert DIGEST_PLACEHOLDER not in METADATA.json_text(file_digest="")


def test_labels_text_has_one_label_per_line() -> None:
    metadata = METADATA.model_copy(update={"class_names": ("cat", "two\nlines", "dog")})
    assert metadata.labels_text == "cat\ntwo lines\ndog\n"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", FORMAT_VERSION + 1, "newer"),
        ("format_version", "1", "newer"),
        ("image_size", 0, "image_size"),
        ("image_size", 10**9, "image_size"),
        ("image_size", 16_384, "image_size"),
        ("image_size", 2049, "image_size"),
        ("class_names", [1] * 300_000, "class_names: it has an item that is not a text"),
        ("files", {str(number): 1 for number in range(2000)}, "files: it has 2,000, at most 1000 are expected"),
        ("class_names", [], "class names"),
        ("class_names", ["a", "a"], "class names"),
        ("thresholds", [0.5, 0.5, 0.5], "thresholds"),
        ("resize", "stretch", "resize"),
        ("task", "regression", "task"),
        ("more", 1, "more"),
    ],
)
def test_from_json_invalid_value_is_rejected(key: str, value: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        ExportMetadata.from_json(json.dumps(json.loads(METADATA.json_text()) | {key: value}), "here")
    assert message in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"image_size"', '"task": "single-label", "image_size"'), "twice"),
        (lambda text: text.replace('"thresholds": null', '"thresholds": [NaN, NaN, NaN]'), "NaN"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 0'), "version"),
        (lambda text: text.replace('"format_version": 1', '"format_version": true'), "version"),
    ],
)
def test_from_json_ambiguous_json_is_rejected(change: Callable[[str], str], message: str) -> None:
    text = METADATA.json_text()
    assert change(text) != text
    with pytest.raises(ModelError, match=message):
        ExportMetadata.from_json(change(text), "here")


def test_from_json_message_is_short() -> None:
    long = json.loads(METADATA.json_text()) | {"task": "x" * 100_000, "image_size": "y" * 100_000}
    with pytest.raises(ModelError, match="task") as error:
        ExportMetadata.from_json(json.dumps(long), "here")
    assert len(str(error.value)) < 1000
    assert "http" not in str(error.value)


def test_from_json_multi_label_needs_one_threshold_per_label() -> None:
    multi_label = json.loads(METADATA.json_text()) | {"task": "multi-label", "thresholds": [0.5, 0.4]}
    with pytest.raises(ModelError, match="expected 3 thresholds"):
        ExportMetadata.from_json(json.dumps(multi_label), "here")
    assert ExportMetadata.from_json(json.dumps(multi_label | {"thresholds": [0.5, 0.4, 0.3]}), "here").thresholds


@pytest.mark.parametrize("text", ["", "[]", "{}", "1", "{" * 100_000, b"\xff"])
def test_from_json_other_content_is_rejected(text: str | bytes) -> None:
    with pytest.raises(ModelError, match="metadata in here is not valid"):
        ExportMetadata.from_json(text, "here")
