from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.errors import RecipeError
from transfer_cli.recipe import Recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_survive_being_written(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name).resolved()
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.load(str(tmp_path / "recipe.toml")) == recipe


def test_all_faults_are_said_at_once_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('seed = -1\n\n[backbone]\nname = "resnet5"\npoling = "avg"\n\n[images]\nresize = "crap"\n')
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(path), ["split.test=1.5", "classifier.name=logstic"])
    assert sorted(str(caught.value).splitlines()) == [
        f"  {path}:1: seed: Input should be greater than or equal to 0. Received: -1.",
        f"  {path}:4: backbone.name: There is no backbone called 'resnet5'. Did you mean resnet50?",
        f"  {path}:5: backbone.poling: there is no such word. Did you mean pooling?",
        f"  {path}:8: images.resize: expected squash, crop, pad. Received: 'crap'. Did you mean crop?",
        "  classifier.name: There is no classifier called 'logstic'. Did you mean logistic?",
        "  split.test: Input should be less than 1. Received: 1.5.",
        "The recipe has 6 faults:",
    ]


def test_overrides() -> None:
    recipe = Recipe.load("quick", ["images.size=96", "backbone.weights=none"], {"seed": 3, "backbone.layer": None})
    assert (recipe.images.size, recipe.backbone.weights, recipe.seed) == (96, "none", 3)
    assert recipe.backbone.layer is None


@pytest.mark.parametrize(
    ("source", "overrides", "message"),
    [
        (None, ["split.test=0.9", "split.val=0.5"], "split: test and val are 0.9 and 0.5, which leaves nothing"),
        (None, ["backbone=3"], "backbone: Input should be a valid dictionary"),
        (None, ["images.size=abc"], "images.size: Input should be a valid integer. Received: 'abc'."),
        ("quik", [], "There is no recipe and no file called 'quik'. Did you mean quick?"),
        (None, ["seed"], "Expected --set SECTION.WORD=VALUE. Received: 'seed'."),
        (None, ["seed=1", "seed.x=1"], "seed.x: seed is a value"),
    ],
)
def test_faults_beyond_the_words(source: str | None, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        Recipe.load(source, overrides)


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seed == 1")
    with pytest.raises(RecipeError, match="not a TOML file that can be read"):
        Recipe.load(str(tmp_path / "x.toml"))


def test_resolved_leaves_nothing_to_the_backbone() -> None:
    recipe = Recipe.load(None, ["backbone.name=xception", "classifier.name=random-forest"]).resolved()
    assert recipe.images.size == 299
    assert recipe.classifier.tune is False
