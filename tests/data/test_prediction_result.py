"""Predictions are a sequence with labels, tables and short texts."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from transfer_cli.data.prediction_result import Prediction, Predictions
from transfer_cli.data.predictions import PredictionColumns
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import MissingExtraError

NAMES = ("ant", "bee", "<b>")
VALUES = np.array([[0.125, 0.75, 0.125], [0.5, 0.25, 0.25]], np.float32)
SINGLE = Predictions(("a.jpg", "b.jpg"), NAMES, VALUES, (Skipped("c.jpg", "the file is empty"),))
MULTI = Predictions(("a.jpg", "b.jpg"), NAMES, VALUES, (), (0.2, 0.2, 0.6))
REJECTED = Predictions(("a.jpg", "b.jpg"), NAMES, VALUES, reject_reasons=("", "unsure"))
NOTHING = Predictions((), NAMES, np.empty((0, 3), np.float32))


def test_labels_are_a_property_of_every_kind() -> None:
    assert SINGLE.labels == ["bee", "ant"]
    assert REJECTED.labels == ["bee", "unknown"]
    assert NOTHING.labels == []
    with pytest.raises(ValueError, match=r"any number of labels\. Expected \.label_lists\(\) instead\."):
        _ = MULTI.labels
    with pytest.raises(ValueError, match=r"Expected \.labels instead\."):
        _ = MULTI[0].label


def test_label_lists_are_of_every_kind() -> None:
    assert MULTI.label_lists() == [["bee"], ["ant", "bee"]]
    assert REJECTED.label_lists() == [["bee"], ["unknown"]]
    assert NOTHING.label_lists() == []


def test_sequence_of_images() -> None:
    expected = Prediction("b.jpg", ["ant"], 0.5, {"ant": 0.5, "bee": 0.25, "<b>": 0.25})
    assert len(SINGLE) == 2
    assert SINGLE[1] == SINGLE[-1] == [*SINGLE][1] == expected
    assert [each.labels for each in MULTI] == MULTI.label_lists()
    assert REJECTED[-1].label == "unknown"
    assert SINGLE[1:].paths == ("b.jpg",)
    with pytest.raises(IndexError):
        SINGLE[2]


def test_top_is_sorted_and_has_at_most_all_classes() -> None:
    assert SINGLE.top(2) == [[("bee", 0.75), ("ant", 0.125)], [("ant", 0.5), ("bee", 0.25)]]
    assert [len(each) for each in SINGLE.top(9)] == [3, 3]
    with pytest.raises(ValueError, match=r"Expected k of 1 or more\. Received: 0\."):
        SINGLE.top(0)


def test_concatenate_keeps_order_and_skipped() -> None:
    joined = Predictions.concatenate([SINGLE, NOTHING, SINGLE])
    assert joined.paths == ("a.jpg", "b.jpg") * 2
    assert joined.probabilities.shape == (4, 3)
    assert len(joined.skipped) == 2
    assert Predictions.concatenate([REJECTED, REJECTED]).labels == ["bee", "unknown"] * 2


def test_confidences() -> None:
    assert SINGLE.confidences.tolist() == [0.75, 0.5]
    assert NOTHING.confidences.tolist() == []


def test_short_texts() -> None:
    assert repr(SINGLE) == "<Predictions of 2 images, 3 classes, 1 skipped>\n  a.jpg: bee 0.750\n  b.jpg: ant 0.500"
    many = Predictions.concatenate([SINGLE] * 50)
    assert len(repr(many).splitlines()) == 7
    assert repr(many).endswith("and 95 more")
    assert many._repr_html_().count("<tr>") == 21
    assert many._repr_html_().endswith("<p>and 80 more</p>")


def test_html_is_escaped() -> None:
    page = Predictions(("<script>",), NAMES, np.array([[0, 0, 1]], np.float32))._repr_html_()
    assert "<td>&lt;script&gt;</td><td>&lt;b&gt;</td><td>1.000</td>" in page
    assert "<script>" not in page


def test_pandas_table_has_the_columns_of_the_csv_file() -> None:
    pytest.importorskip("pandas")
    frame = SINGLE.to_pandas()
    assert [*frame.columns] == PredictionColumns(NAMES).header()
    assert frame["label"].tolist() == SINGLE.labels
    assert [*REJECTED.to_pandas().columns] == PredictionColumns(NAMES, with_rejection=True).header()
    assert MULTI.to_pandas()["labels"].tolist() == MULTI.label_lists()


def test_without_pandas_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="needs pandas") as error:
        SINGLE.to_pandas()
    assert error.value.hint == "pip install 'transfer-cli[pandas]'"
