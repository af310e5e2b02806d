"""The map of a run: similar images are close, no image covers another, wrong predictions are marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from tests.finetuning import rows_of
from transfer_cli.cli.main import main
from transfer_cli.features import grid_assignment, tsne
from transfer_cli.features.feature_map import tile_of
from transfer_cli.features.feature_map_drawing import Tile, draw_map, thumbnail_side
from transfer_cli.features.grid_assignment import assign_to_grid
from transfer_cli.features.nearest import nearest
from transfer_cli.features.tsne import layout
from transfer_cli.rendering.palette import class_colours


def groups(each: int, count: int = 4, width: int = 24) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of classes that overlap a little, and the class of each."""
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(count), each)
    centres = random.normal(size=(count, width))
    return (centres[truth] + 0.9 * random.normal(size=(len(truth), width))).astype(np.float32), truth


def neighbour_accuracy(places: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return how often the nearest other point has the same class."""
    ways = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(ways, np.inf)
    return float((truth[ways.argmin(axis=1)] == truth).mean())


def test_layout_keeps_nearest_neighbours() -> None:
    features, truth = groups(40)
    places = layout(features, 0)
    itself_and_next, _ = nearest(features, features, 2)
    in_features = float((truth[itself_and_next[:, 1]] == truth).mean())
    assert in_features > 0.85
    assert neighbour_accuracy(places, truth) > in_features - 0.05
    # Control: the same positions, assigned to other images.
    assert neighbour_accuracy(np.random.default_rng(0).permutation(places), truth) < 0.5


def test_layout_is_reproducible() -> None:
    features, _ = groups(20)
    places = layout(features, 3)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(layout(features, 3), places)
    assert not np.array_equal(layout(features[::-1], 3), places)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_layout_of_few_images_has_distinct_positions(count: int) -> None:
    features, _ = groups(3)
    places = layout(features[:count], 0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_layout_of_equal_images_and_narrow_features_is_finite() -> None:
    features, _ = groups(8)
    for odd in (
        np.ones((12, 5), np.float32),
        np.zeros((12, 5), np.float32),
        features[:, :1],
        features[[0] * 9 + [1] * 9],
    ):
        assert np.isfinite(layout(odd, 0)).all()


def test_layout_beyond_the_sample_uses_nearest_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = groups(60)
    monkeypatch.setattr(tsne, "SAMPLE", 100)
    notes: list[str] = []

    class Told:
        def note(self, message: str) -> None:
            notes.append(message)

    places = layout(features, 0, Told())  # type: ignore[arg-type]
    assert notes == [
        "t-SNE of a random sample of 100 of 240 images; the others are placed next to their nearest neighbours"
    ]
    assert np.isfinite(places).all()
    assert neighbour_accuracy(places, truth) > 0.8


@pytest.mark.parametrize(("count", "cells"), [(1, 2500), (5, 2500), (200, 2500), (200, 150)])
def test_assign_to_grid_gives_each_image_its_own_cell(count: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_assignment, "MAX_CELLS", cells)
    points = np.random.default_rng(4).normal(size=(count, 2)) * (3, 1)
    first = np.arange(count) % 10 == 0
    found = assign_to_grid(points, first)
    assert len({tuple(cell) for cell in found.cells.tolist()}) == len(found.members) <= found.columns * found.rows
    assert (found.cells >= 0).all()
    assert (found.cells < (found.columns, found.rows)).all()
    room = int(grid_assignment.MAX_FILLED * found.columns * found.rows)
    assert len(found.members) == min(count, max(room, 1)) or len(found.members) == count
    if count > room > 0:
        # Thinned out, but few of the points to keep are left out.
        assert len(found.members) == room
        assert first[found.members].sum() / first.sum() > 1.3 * len(found.members) / count
    if count == 200:
        across = np.corrcoef(points[found.members, 0], found.cells[:, 0])[0, 1]
        assert across > 0.9


def test_draw_map_marks_wrong_predictions() -> None:
    places = assign_to_grid(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros(2, bool))
    side = thumbnail_side(places)
    grey = np.full((2, side, side, 3), 128, np.uint8)

    def colours(tiles: list[Tile]) -> set[tuple[int, ...]]:
        drawing = draw_map(places, tiles, grey, ["a", "b", "c"], ("title", "below"))
        body = np.asarray(drawing)[300:].reshape(-1, 3)
        return {tuple(colour) for colour in np.unique(body, axis=0).tolist()}

    right, wrong = [Tile(0), Tile(0)], [Tile(0), Tile(0, predicted=2)]
    assert class_colours(2)[0] in colours(wrong)
    assert class_colours(2)[0] not in colours(right)
    assert class_colours(0)[0] in colours(right)


def test_tile_of_true_and_predicted_labels() -> None:
    names = ("a", "b", "c")
    assert tile_of(("b",), None, names) == Tile(1)
    assert tile_of(("b",), "b", names) == Tile(1)
    assert tile_of(("b",), "c", names) == Tile(1, 2)
    assert tile_of(("a", "c"), "a;c", names) == Tile(0)
    assert tile_of(("a", "c"), "a;b", names) == Tile(0, 1)
    assert tile_of(("a", "c"), "a", names) == Tile(0, -1)
    assert tile_of((), "", names) == Tile(-1)


def test_eighty_classes_have_distinct_colours() -> None:
    looks = [class_colours(number) for number in range(-1, 80)]
    assert len(set(looks)) == 81


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
    assert (refused.exit_code, "36 of 36 pictures" in refused.stderr, "--images" in refused.stderr) == (3, True, True)
    assert (copy_of_trained / "plots/map.png").read_bytes() == before
    found = invoke("--images", str(colours))
    assert (found.exit_code, "no longer be read" in found.stderr) == (0, False)
    assert (copy_of_trained / "plots/map.png").read_bytes() == before
    assert invoke("--overwrite").exit_code == 0
    assert (copy_of_trained / "plots/map.png").read_bytes() != before
    assert "is no folder" in invoke("--images", str(tmp_path / "typo")).stderr


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


def test_map_command_with_more_images_than_room_says_so(
    copy_of_trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid_assignment, "MAX_CELLS", 36)
    done = CliRunner().invoke(main, ["--json", "map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    drawn = json.loads(done.stdout)["drawn"]
    assert drawn < 36
    assert f"the drawing has room for {drawn} of 36 images" in done.stderr
    assert len(rows_of(copy_of_trained / "map.csv")) == 36
