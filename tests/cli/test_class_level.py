"""What a user sees of an unusual image folder: the classes, what is left out, and warnings."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest

from tests.conftest import TINY_WORDS, Outcome, save_image
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest
from transfer_cli.cli._types import class_level
from transfer_cli.cli.main import main
from transfer_cli.errors import RunError
from transfer_cli.training.setup.claim import check_can_start


@pytest.fixture
def stations(tmp_path: Path) -> Path:
    """Return images of two species in the folders of two stations; the name of the folder has blanks."""
    random = np.random.default_rng(1)
    for station in ("ST01", "ST02"):
        for species, colour in (("fox", (200, 90, 20)), ("hare", (90, 90, 90))):
            for number in range(2):
                save_image(tmp_path / "my photos" / station / species / f"{number}.png", colour, random, 8)
    (tmp_path / "my photos" / "ST01" / "notes.txt").touch()
    return tmp_path / "my photos"


def test_split_with_class_level_writes_the_classes(
    stations: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    result = transfer_cli("data", "split", stations, "--class-level", "2", "-o", "foxes & hares.csv")
    assert result.code == 0, result.err
    with (tmp_path / "foxes & hares.csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"fox", "hare"}
    assert "left out: 1 .txt file" in result.err
    assert "next: transfer-cli extract 'foxes & hares.csv'" in result.err
    assert "warning" not in result.err


def test_split_of_stations_warns(stations: Path, transfer_cli: Callable[..., Outcome]) -> None:
    result = transfer_cli("data", "split", stations, "-o", "split.csv")
    assert result.code == 0, result.err
    assert "warning: class names look like stations (ST01, ST02)" in result.err
    assert "--class-level 2" in result.err
    assert "4 deeper folders were merged" in result.err


@pytest.mark.parametrize("level", ["0", "-1", "first", "1.5", ""])
def test_class_level_that_is_none_is_a_usage_error(level: str) -> None:
    with pytest.raises(click.BadParameter, match=f"or last. Received: {level}"):
        class_level(level)


def test_class_level_is_a_number_or_last() -> None:
    assert [class_level(text) for text in ("1", "12", "last", "LAST")] == [1, 12, "last", "last"]


@pytest.mark.parametrize(
    "command",
    ["extract", "finetune", "auto", "rank", "learning-curve", "data check", "evaluate", "lr-find", "preview"],
)
def test_class_level_is_an_option_of(command: str) -> None:
    found: click.Command | None = main
    for word in command.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    assert "--class-level" in {name for parameter in found.params for name in parameter.opts}


def test_run_of_another_class_level_is_refused(stations: Path, tmp_path: Path) -> None:
    files = ImageFolder.scan(stations).files
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY_WORDS[1], "backbone.weights": "none"})
    run.recipe.write_text(recipe.to_toml())
    run.folder.write_text(f"{stations.resolve()}\n")
    Split.make(files, [f"{number:064x}" for number in range(len(files))], test=0.5, val=0.0).write(run.split)
    with pytest.raises(RunError, match=r"holds another run: .*fox.* is ST01 there, and fox in this command"):
        check_can_start(TrainingRequest(ImageFolder.scan(stations, class_level=2), run), recipe)
    check_can_start(TrainingRequest(ImageFolder.scan(stations), run), recipe)
