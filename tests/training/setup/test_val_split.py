"""Pictures of train to compare by, where a split has no val part."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory
from transfer_cli.auto import auto as making
from transfer_cli.data.groups import by_pattern
from transfer_cli.data.image_folder import ImageFile
from transfer_cli.data.split import Split
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import Survey, survey
from transfer_cli.training.setup.val_split import with_val


def surveyed(colours: Path, tmp_path: Path, **words: object) -> tuple[TrainingRequest, FinetuneRecipe, Survey]:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    recipe = FinetuneRecipe.load(None, [], words).resolved(request.folder.task)
    return request, recipe, survey(request, recipe, decodes=False)


def without_val(found: Survey) -> Survey:
    rows = (replace(row, part="train") if row.part == "val" else row for row in found.split.rows)
    return replace(found, split=Split(tuple(rows), 0, "split.csv"))


def test_val_comes_out_of_train_and_test_stays(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    given = without_val(own)
    found = with_val(request, recipe, given)
    assert found.split.counts().keys() == {"train", "val", "test"}
    assert {row.labels for row in found.split.rows if row.part == "val"} == {("blue",), ("green",), ("red",)}
    pairs = [*zip(given.split.rows, found.split.rows, strict=True)]
    assert all(is_now.part == "test" for was, is_now in pairs if was.part == "test")
    assert all(is_now.part in ("train", "val") for was, is_now in pairs if was.part == "train")
    assert with_val(request, recipe, given) == found
    # One that has a val part keeps it.
    assert with_val(request, recipe, own) is own


@pytest.mark.parametrize("by", [None, r"(\d+)\.jpg"])
def test_so_many_are_held_out_as_the_recipe_says(by: str | None, tmp_path: Path) -> None:
    """Although the split was made by the same digests, of which the first are in test."""
    files = tuple(ImageFile(f"{name}/{number}.jpg", (name,)) for name in ("cat", "dog") for number in range(400))
    folder = ImageFolder(tmp_path, files, ("cat", "dog"), {}, tmp_path)
    digests = [hashlib.sha256(file.path.encode()).hexdigest() for file in files]
    recipe = FinetuneRecipe.load(None, [], {"split.group_by": by} if by else {})
    groups = None if by is None else by_pattern([file.path for file in files], by)
    split = Split.make(files, digests, test=0.2, val=0.0, groups=groups)
    found = with_val(
        TrainingRequest(folder, RunDirectory(tmp_path / "run")), recipe, Survey(split, tuple(range(800)), ())
    )
    assert 0.1 < found.split.counts()["val"] / split.counts()["train"] < 0.2
    assert [row.sha256 for row in found.split.rows] == digests


def parted(found: Survey) -> set[str]:
    """Return which relatives are in train and in val: pictures whose numbers end alike."""
    of = {part: {row.path[-5] for row in found.split.rows if row.part == part} for part in ("train", "val")}
    assert of["val"]
    return of["train"] & of["val"]


def test_relatives_are_held_out_together(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path, **{"split.group_by": r"(\d)\.png"})
    given = without_val(own)
    assert not parted(with_val(request, recipe, given))
    # The twin: where nobody says which are relatives, they are parted.
    alone = recipe.model_copy(update={"split": recipe.split.model_copy(update={"group_by": None})})
    assert parted(with_val(request, alone, given))


def test_nothing_is_held_out_where_no_class_has_a_picture_to_spare(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    last = {row.labels: row.path for row in own.split.rows}
    rows = (replace(row, part="train" if row.path == last[row.labels] else "test") for row in own.split.rows)
    found = replace(own, split=Split(tuple(rows), 0, "split.csv"))
    assert with_val(request, recipe, found).split == found.split


def test_a_run_with_val_held_out_follows_the_split_that_it_was_given(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    given = without_val(own)
    was = with_val(request, recipe, given).split
    followed = making._followed(given.split, was)
    part_of = {row.path: row.part for row in was.rows}
    assert all(part_of[row.path] == row.part for row in followed.rows)
    # The twin: another picture in test is another split.
    moved = next(row for row in given.split.rows if row.part == "train" and part_of[row.path] == "train")
    rows = (replace(row, part="test") if row == moved else row for row in given.split.rows)
    followed = making._followed(replace(given.split, rows=tuple(rows)), was)
    assert any(part_of[row.path] != row.part for row in followed.rows)
