"""Tables of predictions, and skipped.csv."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from transfer_cli.data.prediction_columns import PredictionColumns
from transfer_cli.data.predictions import FORMATS, Predictions, columns_of, open_writer, writer_of
from transfer_cli.data.skipped import Skipped, read_skipped, write_skipped

CLASSES = ("cat", "label", "ox, musk")
ODD = b"odd \xff name.jpg".decode("utf-8", "surrogateescape")
FIRST = Predictions(("a.jpg", "b,\n.jpg"), CLASSES, np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]], np.float32))
SECOND = Predictions((ODD,), CLASSES, np.array([[0.0, 1 / 3, 2 / 3]], np.float32))


def written(format: str, top_k: int | None = None, truth: bool = False) -> bytes:
    target = io.BytesIO()
    table = open_writer(format, target, CLASSES, top_k, truth=truth)
    table.append(FIRST, ["cat", "label"] if truth else None)
    table.append(SECOND, ["cat"] if truth else None)
    table.close()
    return target.getvalue()


def test_csv_writer() -> None:
    assert written("csv") == (
        b'path,label,confidence,p_cat,p_label,"p_ox, musk"\n'
        b"a.jpg,label,0.7,0.1,0.7,0.2\n"
        b'"b,\n.jpg",cat,0.4,0.4,0.2,0.4\n'
        b'odd \xff name.jpg,"ox, musk",0.6666667,0.0,0.33333334,0.6666667\n'
    )


def test_csv_writer_float32_is_read_back_exactly() -> None:
    rows = list(csv.reader(io.StringIO(written("csv").decode("utf-8", "surrogateescape"), newline="")))[1:]
    values = np.array([[float(cell) for cell in row[3:]] for row in rows], np.float32)
    assert np.array_equal(values, np.concatenate([FIRST.probabilities, SECOND.probabilities]))


def test_csv_writer_top_k_with_truth() -> None:
    assert written("csv", top_k=2, truth=True).splitlines()[:2] == [
        b"path,true_label,label,confidence,label_2,confidence_2",
        b'a.jpg,cat,label,0.7,"ox, musk",0.2',
    ]


def test_jsonl_writer() -> None:
    rows = [json.loads(line) for line in written("jsonl").decode().splitlines()]
    assert rows[0] == {
        "path": "a.jpg",
        "label": "label",
        "confidence": 0.7,
        "probabilities": {"cat": 0.1, "label": 0.7, "ox, musk": 0.2},
    }
    assert rows[2]["path"] == ODD
    best = json.loads(written("jsonl", top_k=1).splitlines()[0])
    assert best["probabilities"] == {"label": 0.7}


def test_parquet_writer() -> None:
    table = pq.read_table(io.BytesIO(written("parquet", truth=True))).to_pydict()
    assert list(table) == ["path", "true_label", "label", "confidence", "p_cat", "p_label", "p_ox, musk"]
    assert table["path"] == ["a.jpg", "b,\n.jpg", "odd \\xff name.jpg"]
    assert table["label"] == ["label", "cat", "ox, musk"]
    assert table["p_label"] == [np.float32(0.7), np.float32(0.2), np.float32(1 / 3)]
    assert list(pq.read_table(io.BytesIO(written("parquet", top_k=2))).to_pydict()) == [
        "path",
        "label",
        "confidence",
        "label_2",
        "confidence_2",
    ]


def test_table_writer() -> None:
    assert written("table", top_k=2).decode("utf-8", "surrogateescape").splitlines()[0] == (
        "a.jpg     label     70.0%  ox, musk  20.0%"
    )


class _Screen(io.BytesIO):
    def isatty(self) -> bool:
        return True


MONKEYS = Predictions(
    (f"trap/2024/night/{'deep/' * 12}IMG_0001.JPG", "b.jpg"),
    ("black_headed_night_monkey", "white_headed_capuchin", "owl"),
    np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32),
)


def on_screen(columns: int, monkeypatch: pytest.MonkeyPatch, top_k: int | None = None) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    target = _Screen()
    writer_of("table", target, columns_of(MONKEYS, top_k)).append(MONKEYS)
    return target.getvalue().decode().splitlines()


@pytest.mark.parametrize(("columns", "classes"), [(50, 1), (80, 1), (120, 1), (200, 3)])
def test_table_writer_leaves_out_classes_and_cuts_paths_on_a_narrow_terminal(
    columns: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = on_screen(columns, monkeypatch)
    assert max(len(first), len(second)) <= columns
    assert first.count("%") == second.count("%") == classes
    path, _, rest = first.partition("  ")
    assert path.startswith("trap/")
    assert path.endswith(".JPG")
    assert rest.startswith("black_headed_night_monkey  70.0%")
    assert second.split()[:3] == ["b.jpg", "owl", "70.0%"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_table_writer_top_k_continues_on_the_next_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_screen(columns, monkeypatch, top_k=3)
    assert max(map(len, lines)) <= columns
    assert " ".join(lines).count("%") == 6
    for name in MONKEYS.class_names:
        assert sum(name in line for line in lines) == 2


@pytest.mark.parametrize("format", FORMATS)
def test_writer_top_k_above_the_number_of_classes_gives_all(format: str) -> None:
    assert written(format, top_k=99) == written(format, top_k=3)


def test_skipped_is_read_as_written(tmp_path: Path) -> None:
    skipped = (Skipped("a,b.jpg", "the file is empty"), Skipped(ODD, "odd"))
    write_skipped(tmp_path / "skipped.csv", skipped)
    expected = b'path,reason\n"a,b.jpg",the file is empty\nodd \xff name.jpg,odd\n'
    assert (tmp_path / "skipped.csv").read_bytes() == expected
    assert read_skipped(tmp_path / "skipped.csv") == skipped


RESTRICTED = replace(FIRST, left_out=("ant", "bee"), digests=("0" * 64, "1" * 64), skipped_at=(0,))


def written_with_digest(format: str, top_k: int | None = None) -> str:
    target = io.BytesIO()
    table = writer_of(format, target, columns_of(RESTRICTED, top_k, with_digest=True))
    table.append(RESTRICTED)
    table.skip(Skipped("c.jpg", "the file is empty"))
    table.close()
    return target.getvalue().decode()


def test_writer_says_which_classes_were_left_out_and_what_was_skipped() -> None:
    assert written_with_digest("csv", 1) == (
        "path,label,confidence,classes_left_out,sha256\n"
        f"a.jpg,label,0.7,ant;bee,{'0' * 64}\n"
        f'"b,\n.jpg",cat,0.4,ant;bee,{"1" * 64}\n'
        "c.jpg,,,,\n"
    )
    first, _, last = map(json.loads, written_with_digest("jsonl").splitlines())
    assert first == {
        "path": "a.jpg",
        "label": "label",
        "confidence": 0.7,
        "probabilities": {"cat": 0.1, "label": 0.7, "ox, musk": 0.2},
        "classes_left_out": ["ant", "bee"],
        "sha256": "0" * 64,
    }
    assert last == {"path": "c.jpg", "error": "the file is empty"}
    assert written_with_digest("table").splitlines()[-1] == "c.jpg  could not be read: the file is empty"


def test_writer_many_classes_left_out_are_counted() -> None:
    columns = PredictionColumns(CLASSES, left_out=tuple(f"c{number}" for number in range(998)))
    assert columns.left_out_text == ";".join(f"c{number}" for number in range(20)) + ";and 978 more"


def test_writer_for_excel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    target = io.BytesIO()
    table = writer_of("excel-csv", target, columns_of(SECOND))
    table.append(SECOND)
    table.skip(Skipped("=c.jpg", "empty"))
    table.close()
    assert target.getvalue().decode() == (
        "\ufeffpath;label;confidence;p_cat;p_label;p_ox, musk\r\n"
        "odd \\xff name.jpg;ox, musk;0,666667;0;0,333333;0,666667\r\n"
        "'=c.jpg;;;;;\r\n"
    )


def test_predictions_part_keeps_rows_together() -> None:
    part = RESTRICTED[1:2]
    assert (part.paths, part.digests, part.left_out) == (("b,\n.jpg",), ("1" * 64,), ("ant", "bee"))
    assert part.probabilities.tolist() == FIRST.probabilities[1:].tolist()
