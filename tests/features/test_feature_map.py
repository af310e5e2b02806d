"""The map of a run: its table, its drawing, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.finetuning import rows_of
from transfer_cli.cli.main import main
from transfer_cli.features import grid_assignment
from transfer_cli.features.feature_map import tile_of
from transfer_cli.features.feature_map_drawing import Tile


def test_tile_of_true_and_predicted_labels() -> None:
    names = ("a", "b", "c")
    assert tile_of(("b",), None, names) == Tile(1)
    assert tile_of(("b",), "b", names) == Tile(1)
    assert tile_of(("b",), "c", names) == Tile(1, 2)
    assert tile_of(("a", "c"), "a;c", names) == Tile(0)
    assert tile_of(("a", "c"), "a;b", names) == Tile(0, 1)
    assert tile_of(("a", "c"), "a", names) == Tile(0, -1)
    assert tile_of((), "", names) == Tile(-1)


def test_map_command_draws_a_run(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--json", "map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["output"] == str(copy_of_trained / "plots/map.png")
    rows, split = rows_of(copy_of_trained / "map.csv"), rows_of(copy_of_trained / "split.csv")
    assert [(row["path"], row["true_label"], row["split"]) for row in rows] == [
        (row["path"], row["class"], row["split"]) for row in split
    ]
    predictions = {
        row["path"]: row["label"]
        for part in ("val", "test")
        for row in rows_of(copy_of_trained / f"predictions_{part}.csv")
    }
    assert {row["path"]: row["label"] for row in rows if row["label"]} == predictions
    wrong = sum(row["label"] not in ("", row["true_label"]) for row in rows)
    assert (facts["images"], facts["drawn"], facts["scored"], facts["mistakes"]) == (36, 36, len(predictions), wrong)
    with Image.open(facts["output"]) as drawing:
        colour = np.asarray(drawing.convert("RGB")).astype(int)
    # The thumbnails of red images are visible.
    assert (np.abs(colour - (210, 30, 30)).sum(axis=2) < 60).sum() > 1000
    # The map may be drawn again; another image file is not replaced.
    assert CliRunner().invoke(main, ["map", str(copy_of_trained)]).exit_code == 0
    own = tmp_path / "own.png"
    shutil.copy(colours / "red/red 03.png", own)
    refused = CliRunner().invoke(main, ["map", str(copy_of_trained), "-o", str(own)])
    assert (refused.exit_code, "is an image and would be lost" in refused.stderr) == (3, True)


def test_map_command_perplexity_too_large_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    words = ["map", str(copy_of_trained), "-o", str(tmp_path / "map.png"), "--perplexity"]
    refused = CliRunner().invoke(main, [*words, "30"])
    assert refused.exit_code == 3
    assert (
        "The perplexity 30 is too large for 36 images. Expected at most 11.67, a third of the images." in refused.stderr
    )
    done = CliRunner().invoke(main, ["--json", *words, "4"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["perplexity"] == 4


def test_map_command_missing_images_are_grey(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "folder.txt").write_text(f"{tmp_path}/gone\n")
    done = CliRunner().invoke(main, ["map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    assert "36 of 36 images can no longer be read" in done.stderr
    (copy_of_trained / "features.parquet").unlink()
    done = CliRunner().invoke(main, ["map", str(copy_of_trained), "--overwrite"])
    assert (done.exit_code, "has no features.parquet" in done.stderr) == (3, True)


def test_map_command_keeps_a_complete_drawing_if_images_are_missing(
    copy_of_trained: Path, colours: Path, tmp_path: Path
) -> None:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(main, ["map", str(copy_of_trained), *words])

    assert invoke().exit_code == 0
    before = (copy_of_trained / "plots/map.png").read_bytes()
    (copy_of_trained / "folder.txt").write_text(f"{tmp_path}/gone\n")
    refused = invoke()
    assert (refused.exit_code, "36 of 36 images" in refused.stderr, "--images" in refused.stderr) == (3, True, True)
    assert (copy_of_trained / "plots/map.png").read_bytes() == before
    found = invoke("--images", str(colours))
    assert (found.exit_code, "no longer be read" in found.stderr) == (0, False)
    assert (copy_of_trained / "plots/map.png").read_bytes() == before
    assert invoke("--overwrite").exit_code == 0
    assert (copy_of_trained / "plots/map.png").read_bytes() != before
    assert "is not a folder" in invoke("--images", str(tmp_path / "typo")).stderr


def test_map_command_output_has_its_table_next_to_it(copy_of_trained: Path, tmp_path: Path) -> None:
    words = ["--json", "map", str(copy_of_trained), "-o", str(tmp_path / "mine.png")]
    facts = json.loads(CliRunner().invoke(main, words).stdout)
    assert facts["table"] == str(tmp_path / "mine.csv")
    assert len(rows_of(tmp_path / "mine.csv")) == 36
    # Nothing is written to the run, which may be read-only.
    assert not (copy_of_trained / "map.csv").exists()
    assert CliRunner().invoke(main, words).exit_code == 0
    (tmp_path / "mine.csv").write_text("name,salary\n")
    refused = CliRunner().invoke(main, words)
    assert (refused.exit_code, "already exists and is not the table of a map" in refused.stderr) == (3, True)
    assert (tmp_path / "mine.csv").read_text() == "name,salary\n"


def test_map_command_with_more_images_than_room_says_so(copy_of_trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_assignment, "MAX_CELLS", 36)
    done = CliRunner().invoke(main, ["--json", "map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    drawn = json.loads(done.stdout)["drawn"]
    assert drawn < 36
    assert f"the drawing has room for {drawn} of 36 images" in done.stderr
    assert len(rows_of(copy_of_trained / "map.csv")) == 36
