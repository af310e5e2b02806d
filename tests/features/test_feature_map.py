"""A map of a run: what is alike lies side by side, no picture covers another, mistakes are seen."""

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
from transfer_cli.features.feature_map import _tile
from transfer_cli.features.feature_map_drawing import Tile, draw_map, side_of
from transfer_cli.features.grid_assignment import on_grid
from transfer_cli.features.nearest import nearest
from transfer_cli.features.tsne import layout
from transfer_cli.rendering.palette import colours_of


def groups(each: int, count: int = 4, width: int = 24) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of some classes that overlap a little."""
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(count), each)
    centres = random.normal(size=(count, width))
    return (centres[truth] + 0.9 * random.normal(size=(len(truth), width))).astype(np.float32), truth


def of_one_neighbour(places: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return how often the nearest other point is of the same class."""
    ways = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(ways, np.inf)
    return float((truth[ways.argmin(axis=1)] == truth).mean())


def test_what_is_alike_in_many_dimensions_is_alike_in_two() -> None:
    features, truth = groups(40)
    places = layout(features, 0)
    itself_and_next, _ = nearest(features, features, 2)
    in_features = float((truth[itself_and_next[:, 1]] == truth).mean())
    assert in_features > 0.85
    assert of_one_neighbour(places, truth) > in_features - 0.05
    # The twin: the same places, given to other pictures.
    assert of_one_neighbour(np.random.default_rng(0).permutation(places), truth) < 0.5


def test_a_seed_gives_the_same_places() -> None:
    features, _ = groups(20)
    places = layout(features, 3)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(layout(features, 3), places)
    assert not np.array_equal(layout(features[::-1], 3), places)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_few_pictures_have_a_place_each(count: int) -> None:
    features, _ = groups(3)
    places = layout(features[:count], 0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_equal_pictures_and_narrow_features_are_no_trouble() -> None:
    features, _ = groups(8)
    for odd in (
        np.ones((12, 5), np.float32),
        np.zeros((12, 5), np.float32),
        features[:, :1],
        features[[0] * 9 + [1] * 9],
    ):
        assert np.isfinite(layout(odd, 0)).all()


def test_beyond_a_sample_pictures_are_put_amid_those_they_are_like(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = groups(60)
    monkeypatch.setattr(tsne, "SAMPLE", 100)
    said: list[str] = []

    class Told:
        def note(self, message: str) -> None:
            said.append(message)

    places = layout(features, 0, Told())  # type: ignore[arg-type]
    assert said == ["100 of 240 pictures are laid out, and the others beside those that are most like them"]
    assert np.isfinite(places).all()
    assert of_one_neighbour(places, truth) > 0.8


@pytest.mark.parametrize(("count", "cells"), [(1, 2500), (5, 2500), (200, 2500), (200, 150)])
def test_no_two_pictures_have_one_cell(count: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_assignment, "CELLS", cells)
    points = np.random.default_rng(4).normal(size=(count, 2)) * (3, 1)
    first = np.arange(count) % 10 == 0
    found = on_grid(points, first)
    assert len({tuple(cell) for cell in found.cells.tolist()}) == len(found.members) <= found.columns * found.rows
    assert (found.cells >= 0).all()
    assert (found.cells < (found.columns, found.rows)).all()
    room = int(grid_assignment.FILLED * found.columns * found.rows)
    assert len(found.members) == min(count, max(room, 1)) or len(found.members) == count
    if count > room > 0:
        # Thinned, but hardly a mistake is left out.
        assert len(found.members) == room
        assert first[found.members].sum() / first.sum() > 1.3 * len(found.members) / count
    if count == 200:
        across = np.corrcoef(points[found.members, 0], found.cells[:, 0])[0, 1]
        assert across > 0.9


def test_a_mistake_has_a_corner_of_its_own() -> None:
    places = on_grid(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros(2, bool))
    side = side_of(places)
    grey = np.full((2, side, side, 3), 128, np.uint8)

    def colours(tiles: list[Tile]) -> set[tuple[int, ...]]:
        drawing = draw_map(places, tiles, grey, ["a", "b", "c"], ("title", "below"))
        body = np.asarray(drawing)[300:].reshape(-1, 3)
        return {tuple(colour) for colour in np.unique(body, axis=0).tolist()}

    right, wrong = [Tile(0), Tile(0)], [Tile(0), Tile(0, taken_for=2)]
    assert colours_of(2)[0] in colours(wrong)
    assert colours_of(2)[0] not in colours(right)
    assert colours_of(0)[0] in colours(right)


def test_labels_that_differ_are_mistakes() -> None:
    names = ("a", "b", "c")
    assert _tile(("b",), None, names) == Tile(1)
    assert _tile(("b",), "b", names) == Tile(1)
    assert _tile(("b",), "c", names) == Tile(1, 2)
    assert _tile(("a", "c"), "a;c", names) == Tile(0)
    assert _tile(("a", "c"), "a;b", names) == Tile(0, 1)
    assert _tile(("a", "c"), "a", names) == Tile(0, -1)
    assert _tile((), "", names) == Tile(-1)


def test_ninety_classes_have_a_look_of_their_own() -> None:
    looks = [colours_of(number) for number in range(-1, 80)]
    assert len(set(looks)) == 81


def test_the_command_draws_a_run(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--json", "map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["output"] == str(copy_of_trained / "plots/map.png")
    rows, split = rows_of(copy_of_trained / "map.csv"), rows_of(copy_of_trained / "split.csv")
    assert [(row["path"], row["class"], row["part"]) for row in rows] == [
        (row["path"], row["class"], row["part"]) for row in split
    ]
    said = {
        row["path"]: row["label"]
        for part in ("val", "test")
        for row in rows_of(copy_of_trained / f"predictions_{part}.csv")
    }
    assert {row["path"]: row["label"] for row in rows if row["label"]} == said
    wrong = sum(row["label"] not in ("", row["class"]) for row in rows)
    assert (facts["images"], facts["drawn"], facts["scored"], facts["mistakes"]) == (36, 36, len(said), wrong)
    with Image.open(facts["output"]) as drawing:
        colour = np.asarray(drawing.convert("RGB")).astype(int)
    # The reds of the pictures themselves are on it.
    assert (np.abs(colour - (210, 30, 30)).sum(axis=2) < 60).sum() > 1000
    # It may be drawn again, and elsewhere; a person's picture is not replaced.
    assert CliRunner().invoke(main, ["map", str(copy_of_trained)]).exit_code == 0
    own = tmp_path / "own.png"
    shutil.copy(colours / "red/red 03.png", own)
    refused = CliRunner().invoke(main, ["map", str(copy_of_trained), "-o", str(own)])
    assert (refused.exit_code, "is a picture, and would be lost" in refused.stderr) == (3, True)


def test_pictures_that_are_gone_are_grey_and_said(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "folder.txt").write_text(f"{tmp_path}/gone\n")
    done = CliRunner().invoke(main, ["map", str(copy_of_trained)])
    assert done.exit_code == 0, done.stderr
    assert "36 of 36 pictures are not to be read" in done.stderr
    (copy_of_trained / "features.parquet").unlink()
    done = CliRunner().invoke(main, ["map", str(copy_of_trained), "--overwrite"])
    assert (done.exit_code, "has no features.parquet" in done.stderr) == (3, True)


def test_a_good_drawing_is_kept_when_the_pictures_have_moved(
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
    assert (found.exit_code, "not to be read" in found.stderr) == (0, False)
    assert (copy_of_trained / "plots/map.png").read_bytes() == before
    assert invoke("--overwrite").exit_code == 0
    assert (copy_of_trained / "plots/map.png").read_bytes() != before
    assert "is no folder" in invoke("--images", str(tmp_path / "typo")).stderr


def test_elsewhere_the_table_lies_beside_the_drawing(copy_of_trained: Path, tmp_path: Path) -> None:
    words = ["--json", "map", str(copy_of_trained), "-o", str(tmp_path / "mine.png")]
    facts = json.loads(CliRunner().invoke(main, words).stdout)
    assert facts["table"] == str(tmp_path / "mine.csv")
    assert len(rows_of(tmp_path / "mine.csv")) == 36
    # Nothing is written into the run, which may be read only.
    assert not (copy_of_trained / "map.csv").exists()
    assert CliRunner().invoke(main, words).exit_code == 0
    (tmp_path / "mine.csv").write_text("name,salary\n")
    refused = CliRunner().invoke(main, words)
    assert (refused.exit_code, "is no table of a map, and would be lost" in refused.stderr) == (3, True)
    assert (tmp_path / "mine.csv").read_text() == "name,salary\n"
