"""``transfer-cli similar`` as users run it."""

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
from transfer_cli.features.similar import SearchImages
from transfer_cli.runs.completed_run import FinishedRun


def invoke(*arguments: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "similar", *map(str, arguments)])


def parts_of(run: Path) -> dict[str, str]:
    return {row["path"]: row["split"] for row in rows_of((run / "split.csv").read_text())}


def test_similar_rows_are_nearest_training_images(trained: Path, colours: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.png"
    shutil.copy(colours / "red/red 03.png", new)
    result = invoke(trained, new, colours / "blue/blue 05.png", "-k", "3")
    assert result.exit_code == 0, result.stderr
    rows = rows_of(result.stdout)
    assert list(rows[0]) == ["path", "rank", "neighbour", "true_label", "cosine", "split"]
    assert [(row["path"], row["rank"]) for row in rows] == [
        (str(path), str(rank)) for path in (new, colours / "blue/blue 05.png") for rank in (1, 2, 3)
    ]
    parts = parts_of(trained)
    matrix = table.read(trained / "features.parquet").astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    place = {path: number for number, path in enumerate(parts)}
    for row, query in zip(rows, [place["red/red 03.png"]] * 3 + [place["blue/blue 05.png"]] * 3, strict=True):
        assert row["split"] == parts[row["neighbour"]] == "train"
        assert row["true_label"] == row["neighbour"].split("/")[0]
        assert abs(float(row["cosine"]) - matrix[query] @ matrix[place[row["neighbour"]]]) < 1e-3
    assert "searched " in result.stderr


def test_similar_excludes_image_itself_but_not_copy(trained: Path, colours: Path, tmp_path: Path) -> None:
    own = colours / "red/red 00.png"
    copied = tmp_path / "copy.png"
    shutil.copy(own, copied)
    first = {row["path"]: row for row in rows_of(invoke(trained, own, copied, "-k", "1", "--part", "all").stdout)}
    assert first[str(copied)]["neighbour"] == "red/red 00.png"
    assert float(first[str(copied)]["cosine"]) > 0.99999
    assert first[str(own)]["neighbour"] != "red/red 00.png"
    everything = rows_of(invoke(trained, own, "-k", "1000", "--part", "all").stdout)
    assert len(everything) == 35


def test_similar_formats_agree(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    expected = rows_of(invoke(trained, image).stdout)
    lines = invoke(trained, image, group=("--json",)).stdout.splitlines()
    assert [json.loads(line)["neighbour"] for line in lines] == [row["neighbour"] for row in expected]
    assert json.loads(lines[0])["cosine"] == float(expected[0]["cosine"])
    for name in ("out.csv", "out.jsonl"):
        result = invoke(trained, image, "-o", tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/{name}\n")
    assert list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))) == expected
    assert invoke(trained, image, "-o", tmp_path / "out.xlsx").exit_code == 2


def test_similar_sheet_shows_images(trained: Path, colours: Path, tmp_path: Path) -> None:
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


def test_similar_wrong_run_is_error(trained: Path, copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    bundle = Path(shutil.copytree(trained / "model", tmp_path / "stick"))
    result = invoke(bundle, image)
    assert result.exit_code == 3
    assert "is a bundle. Expected the run that it belongs to." in result.stderr
    assert f"Use the run: {trained.resolve()}" in invoke(trained / "model", image).stderr
    assert "There is no run at" in invoke(tmp_path / "nothing", image).stderr
    result = invoke(trained, image, "--part", "val")
    assert (result.exit_code, "has no val images" in result.stderr) == (3, True)
    (copy_of_trained / "features.parquet").unlink()
    assert "has no features.parquet" in invoke(copy_of_trained, image).stderr


def test_similar_unreadable_image_exits_with_5(trained: Path, colours: Path, tmp_path: Path) -> None:
    result = invoke(trained, colours / "red/red 03.png", tmp_path / "typo.jpg")
    assert result.exit_code == 5
    assert "skipped" in result.stderr
    assert len(rows_of(result.stdout)) == 5
    result = invoke(trained, tmp_path / "typo.jpg", "-o", tmp_path / "out.csv")
    assert (result.exit_code, list(tmp_path.iterdir())) == (3, [])


def test_similar_finetuned_run_uses_own_network(finetuned: Path, colours: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.png"
    shutil.copy(colours / "green/green 04.png", copied)
    result = invoke(finetuned, copied, "-k", "2", "--part", "all")
    assert result.exit_code == 0, result.stderr
    (first, second) = rows_of(result.stdout)
    assert first["neighbour"] == "green/green 04.png"
    assert float(second["cosine"]) <= float(first["cosine"]) > 0.9999


def test_similar_odd_bytes_in_names_are_kept(trained: Path, colours: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(colours / "red/red 03.png", os.fsdecode(odd))
    result = invoke(trained, os.fsdecode(odd), "-k", "1", "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.stderr
    line = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert os.fsencode(line["path"]) == odd


def test_nearest_normalises_rows_once(trained: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = []

    def counted(rows: np.ndarray) -> np.ndarray:
        request.append(len(rows))
        return unit_rows(rows)

    monkeypatch.setattr(nearest, "unit_rows", counted)
    images = SearchImages.of_run(FinishedRun.read(trained), "all")
    assert request == [len(images.rows)]
    matrix = table.read(trained / "features.parquet")
    for row in range(6):
        assert len(images.nearest(matrix[[row]], ["elsewhere.png"], 2)[0]) == 2
    # Only candidates for the nearest neighbours are computed in double precision.
    assert sum(request[1:]) < 6 * len(images.rows) / 2
