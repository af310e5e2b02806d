"""Validation images from the training set of a split without a validation set."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory
from transfer_cli.auto import auto as making
from transfer_cli.data.groups import groups_by_pattern
from transfer_cli.data.image_folder import ImageFile
from transfer_cli.data.split import Split
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup.preflight import Survey, survey, with_val


def surveyed(colours: Path, tmp_path: Path, **words: object) -> tuple[TrainingRequest, FinetuneRecipe, Survey]:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    recipe = FinetuneRecipe.load(None, [], words).resolved(request.folder.task)
    return request, recipe, survey(request, recipe, decodes=False)


def without_val(result: Survey) -> Survey:
    rows = (replace(row, part="train") if row.part == "val" else row for row in result.split.rows)
    return replace(result, split=Split(tuple(rows), 0, "split.csv"))


def test_with_val_takes_from_train_and_keeps_test(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    without = without_val(own)
    result = with_val(request, recipe, without)
    assert result.split.counts().keys() == {"train", "val", "test"}
    assert {row.labels for row in result.split.rows if row.part == "val"} == {("blue",), ("green",), ("red",)}
    pairs = [*zip(without.split.rows, result.split.rows, strict=True)]
    assert all(is_now.part == "test" for was, is_now in pairs if was.part == "test")
    assert all(is_now.part in ("train", "val") for was, is_now in pairs if was.part == "train")
    assert with_val(request, recipe, without) == result
    # A split with a validation set keeps it.
    assert with_val(request, recipe, own) is own


@pytest.mark.parametrize("by", [None, r"(\d+)\.jpg"])
def test_with_val_holds_out_the_share_of_the_recipe(by: str | None, tmp_path: Path) -> None:
    """The images with the lowest digests are in the test set already."""
    files = tuple(ImageFile(f"{name}/{number}.jpg", (name,)) for name in ("cat", "dog") for number in range(400))
    folder = ImageFolder(tmp_path, files, ("cat", "dog"), {}, tmp_path)
    digests = [hashlib.sha256(file.path.encode()).hexdigest() for file in files]
    recipe = FinetuneRecipe.load(None, [], {"split.group_by": by} if by else {})
    groups = None if by is None else groups_by_pattern([file.path for file in files], by)
    split = Split.make(files, digests, test=0.2, val=0.0, groups=groups)
    result = with_val(
        TrainingRequest(folder, RunDirectory(tmp_path / "run")), recipe, Survey(split, tuple(range(800)), ())
    )
    assert 0.1 < result.split.counts()["val"] / split.counts()["train"] < 0.2
    assert [row.sha256 for row in result.split.rows] == digests


def split_groups(result: Survey) -> set[str]:
    """Return the groups that are in train and in val: images whose numbers end with the same digit."""
    of = {part: {row.path[-5] for row in result.split.rows if row.part == part} for part in ("train", "val")}
    assert of["val"]
    return of["train"] & of["val"]


def test_with_val_keeps_groups_together(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path, **{"split.group_by": r"(\d)\.png"})
    without = without_val(own)
    assert not split_groups(with_val(request, recipe, without))
    # Planted fault: without group_by, groups are split.
    alone = recipe.model_copy(update={"split": recipe.split.model_copy(update={"group_by": None})})
    assert split_groups(with_val(request, alone, without))


def test_with_val_without_images_to_spare_changes_nothing(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    last = {row.labels: row.path for row in own.split.rows}
    rows = (replace(row, part="train" if row.path == last[row.labels] else "test") for row in own.split.rows)
    result = replace(own, split=Split(tuple(rows), 0, "split.csv"))
    assert with_val(request, recipe, result).split == result.split


def test_followed_split_ignores_the_held_out_images(colours: Path, tmp_path: Path) -> None:
    request, recipe, own = surveyed(colours, tmp_path)
    without = without_val(own)
    was = with_val(request, recipe, without).split
    followed = making._without_held_out(without.split, was)
    part_of = {row.path: row.part for row in was.rows}
    assert all(part_of[row.path] == row.part for row in followed.rows)
    # Planted fault: another image in test makes another split.
    moved = next(row for row in without.split.rows if row.part == "train" and part_of[row.path] == "train")
    rows = (replace(row, part="test") if row == moved else row for row in without.split.rows)
    followed = making._without_held_out(replace(without.split, rows=tuple(rows)), was)
    assert any(part_of[row.path] != row.part for row in followed.rows)
