"""``transfer-cli similar`` as a person meets it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.test_predict import rows_of
from transfer_cli.cli.main import main
from transfer_cli.features import nearest, table
from transfer_cli.features.nearest import unit_rows
from transfer_cli.features.similar import Pictures
from transfer_cli.runs.completed_run import FinishedRun


def invoke(*words: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "similar", *map(str, words)])


def parts_of(run: Path) -> dict[str, str]:
    return {row["path"]: row["part"] for row in rows_of((run / "split.csv").read_text())}


def test_rows_are_the_nearest_train_pictures(trained: Path, colours: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.png"
    shutil.copy(colours / "red/red 03.png", new)
    done = invoke(trained, new, colours / "blue/blue 05.png", "-k", "3")
    assert done.exit_code == 0, done.stderr
    rows = rows_of(done.stdout)
    assert list(rows[0]) == ["path", "rank", "neighbour", "class", "cosine", "part"]
    assert [(row["path"], row["rank"]) for row in rows] == [
        (str(path), str(rank)) for path in (new, colours / "blue/blue 05.png") for rank in (1, 2, 3)
    ]
    parts = parts_of(trained)
    matrix = table.read(trained / "features.parquet").astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    place = {path: number for number, path in enumerate(parts)}
    for row, query in zip(rows, [place["red/red 03.png"]] * 3 + [place["blue/blue 05.png"]] * 3, strict=True):
        assert row["part"] == parts[row["neighbour"]] == "train"
        assert row["class"] == row["neighbour"].split("/")[0]
        assert abs(float(row["cosine"]) - matrix[query] @ matrix[place[row["neighbour"]]]) < 1e-3
    assert "looked in" in done.stderr


def test_a_picture_is_not_its_own_neighbour_but_a_copy_of_it_is(trained: Path, colours: Path, tmp_path: Path) -> None:
    own = colours / "red/red 03.png"
    copied = tmp_path / "copy.png"
    shutil.copy(own, copied)
    first = {row["path"]: row for row in rows_of(invoke(trained, own, copied, "-k", "1", "--part", "all").stdout)}
    assert first[str(copied)]["neighbour"] == "red/red 03.png"
    assert float(first[str(copied)]["cosine"]) > 0.99999
    assert first[str(own)]["neighbour"] != "red/red 03.png"
    everything = rows_of(invoke(trained, own, "-k", "1000", "--part", "all").stdout)
    assert len(everything) == 35


def test_formats(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    expected = rows_of(invoke(trained, image).stdout)
    lines = invoke(trained, image, group=("--json",)).stdout.splitlines()
    assert [json.loads(line)["neighbour"] for line in lines] == [row["neighbour"] for row in expected]
    assert json.loads(lines[0])["cosine"] == float(expected[0]["cosine"])
    for name in ("out.csv", "out.jsonl"):
        done = invoke(trained, image, "-o", tmp_path / name)
        assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/{name}\n")
    assert list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))) == expected
    assert invoke(trained, image, "-o", tmp_path / "out.xlsx").exit_code == 2


def test_a_sheet_shows_them(trained: Path, colours: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    for _ in range(2):
        assert invoke(trained, colours / "red/red 03.png", "--sheet", sheet).exit_code == 0
    with Image.open(sheet) as drawing:
        assert drawing.width > 6 * 160
        left = np.asarray(drawing)[20:150, 20:150].reshape(-1, 3).mean(axis=0)
    assert np.abs(left - (210, 30, 30)).max() < 8
    own = tmp_path / "own.png"
    shutil.copy(colours / "red/red 03.png", own)
    refused = invoke(trained, own, "--sheet", own)
    assert (refused.exit_code, "would be lost" in refused.stderr) == (3, True)


def test_what_cannot_be_looked_in(trained: Path, copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    bundle = Path(shutil.copytree(trained / "model", tmp_path / "stick"))
    done = invoke(bundle, image)
    assert done.exit_code == 3
    assert "is a bundle without its run. Expected a run." in done.stderr
    assert f"Give the run: {trained.resolve()}" in invoke(trained / "model", image).stderr
    assert "There is no run at" in invoke(tmp_path / "nothing", image).stderr
    done = invoke(trained, image, "--part", "val")
    assert (done.exit_code, "has no picture in the part val" in done.stderr) == (3, True)
    (copy_of_trained / "features.parquet").unlink()
    assert "has no features.parquet" in invoke(copy_of_trained, image).stderr


def test_skipped_pictures(trained: Path, colours: Path, tmp_path: Path) -> None:
    done = invoke(trained, colours / "red/red 03.png", tmp_path / "typo.jpg")
    assert done.exit_code == 5
    assert "skipped" in done.stderr
    assert len(rows_of(done.stdout)) == 5
    done = invoke(trained, tmp_path / "typo.jpg", "-o", tmp_path / "out.csv")
    assert (done.exit_code, list(tmp_path.iterdir())) == (3, [])


def test_a_fine_tuned_run_is_looked_in_by_its_own_network(finetuned: Path, colours: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.png"
    shutil.copy(colours / "green/green 04.png", copied)
    done = invoke(finetuned, copied, "-k", "2", "--part", "all")
    assert done.exit_code == 0, done.stderr
    (first, second) = rows_of(done.stdout)
    assert first["neighbour"] == "green/green 04.png"
    assert float(second["cosine"]) <= float(first["cosine"]) > 0.9999


def test_odd_bytes_of_names_are_kept_as_predict_keeps_them(trained: Path, colours: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(colours / "red/red 03.png", os.fsdecode(odd))
    done = invoke(trained, os.fsdecode(odd), "-k", "1", "-o", tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.stderr
    line = json.loads((tmp_path / "out.jsonl").read_bytes().decode("utf-8", "surrogateescape"))
    assert os.fsencode(line["path"]) == odd


def test_lengths_are_taken_out_once(trained: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = []

    def counted(rows: np.ndarray) -> np.ndarray:
        request.append(len(rows))
        return unit_rows(rows)

    monkeypatch.setattr(nearest, "unit_rows", counted)
    images = Pictures(FinishedRun.read(trained), "all")
    assert request == [len(images.rows)]
    matrix = table.read(trained / "features.parquet")
    for row in range(6):
        assert len(images.alike(matrix[[row]], ["elsewhere.png"], 2)[0]) == 2
    # What may be among the nearest is looked at in double precision, and no more.
    assert sum(request[1:]) < 6 * len(images.rows) / 2
