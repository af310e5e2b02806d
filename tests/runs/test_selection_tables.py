"""The tables of --class-map and --omit in a run: copies, differences between runs, and what a recipe records."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.data.folder_trees import paths, touch
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.errors import RecipeError
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.recipe.sections import Classes
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.selection_tables import (
    class_map_of_model,
    classes_of_recipes,
    copy_tables,
    table_options,
    write_tables,
)
from transfer_cli.training.setup.resolve import resolve_recipe

MAP, OMIT = "from;to\r\nwolf;dog\r\nempty;\r\n", "path\nfox/1.png\n"


@pytest.fixture
def selection(tmp_path: Path) -> ImageSelection:
    (tmp_path / "map.csv").write_text(MAP)
    (tmp_path / "omit.csv").write_text(OMIT)
    return ImageSelection.read(tmp_path / "map.csv", tmp_path / "omit.csv")


def test_tables_are_copied_as_they_are_and_removed_with_the_next_run(tmp_path: Path, selection: ImageSelection) -> None:
    runs = [RunDirectory(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        run.path.mkdir()
    write_tables(runs[0], selection)
    copy_tables(*runs)
    for run in runs:
        assert (run.class_map.read_bytes(), run.omit.read_bytes()) == (MAP.encode(), OMIT.encode())
        assert table_options(run) == ["--class-map", str(run.class_map), "--omit", str(run.omit)]
        write_tables(run, ImageSelection())
        assert [*run.path.iterdir()] == []
        assert table_options(run) == []


def test_recipe_records_content_and_digests(selection: ImageSelection) -> None:
    classes = Classes.of(selection)
    assert classes.model_dump() == {
        "map": {"wolf": "dog", "empty": ""},
        "map_sha256": hashlib.sha256(MAP.encode()).hexdigest(),
        "omit_sha256": hashlib.sha256(OMIT.encode()).hexdigest(),
    }
    recipe = EnsembleRecipe(classes=classes)
    assert '[classes.map]\nwolf = "dog"\nempty = ""\n' in recipe.to_toml()
    assert "classes" not in EnsembleRecipe().to_toml()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"map": {"a": "b"}, "map_sha256": "1"}, {"map": {"a": "b"}, "map_sha256": "2"}, []),
        ({}, {"map": {"a": "b"}}, ["--class-map is not given there and given here"]),
        ({"map": {"a": "b"}}, {"map": {"a": ""}}, ["--class-map is another table there"]),
        ({"omit_sha256": "1"}, {}, ["--omit is given there and not given here"]),
        ({"omit_sha256": "1"}, {"omit_sha256": "2"}, ["--omit is another table there"]),
    ],
)
def test_recipe_differences_name_the_options(
    before: dict[str, object], after: dict[str, object], expected: list[str]
) -> None:
    recipes = ({"method": "extract", "classes": classes} for classes in (before, after))
    assert recipe_differences(*recipes) == expected


def test_recipe_differences_of_a_run_before_there_were_tables() -> None:
    assert recipe_differences({"method": "auto"}, {"method": "auto", "classes": {"map": None}}) == []


def test_classes_of_recipes_only_if_all_are_equal(selection: ImageSelection) -> None:
    own = {"classes": Classes.of(selection).model_dump(exclude_none=True)}
    assert classes_of_recipes([own, own]) == Classes.of(selection)
    assert classes_of_recipes([own, {}]) == Classes()
    assert classes_of_recipes([{"classes": {"map": [1]}}]) == Classes()
    assert classes_of_recipes([]) == Classes()


def test_class_map_of_model_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert class_map_of_model(str(tmp_path / "none")) == {}
    assert class_map_of_model("imagenet:mobilenet_v2") == {}


def test_resolve_recipe_records_the_tables_of_the_folder(tmp_path: Path, selection: ImageSelection) -> None:
    photos = touch(tmp_path / "photos", *paths("{}/{}.png", ["dog", "empty", "fox", "wolf"], ["1", "2"]))
    recipe = ExtractRecipe.load(settings={"backbone.name": "embedded", "inference.runtime": "keras"})
    run = RunDirectory(tmp_path / "run")
    whole = TrainingRequest(ImageFolder.scan(photos), run)
    mapped = TrainingRequest(ImageFolder.scan(photos, selection=selection), run)
    resolved = resolve_recipe(mapped, recipe, keeps_model=True)
    assert resolved.classes == Classes.of(selection)
    assert resolve_recipe(whole, recipe, keeps_model=True).classes == Classes()
    assert resolve_recipe(mapped, resolved, keeps_model=True) == resolved
    with pytest.raises(RecipeError) as error:
        resolve_recipe(whole, resolved, keeps_model=True)
    assert str(error.value) == "The recipe was made with --class-map (its section [classes]). Received: no table."
    assert str(error.value.hint).startswith("Add --class-map with the copy in the run of the recipe: --class-map RUN/")
