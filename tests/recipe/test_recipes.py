from __future__ import annotations

import re
from pathlib import Path

import pytest

from transfer_cli.errors import RecipeError
from transfer_cli.recipe import toml_source
from transfer_cli.recipe.builtin_recipes import builtin_recipe, recipe_names
from transfer_cli.recipe.recipes import FinetuneRecipe, Recipe
from transfer_cli.recipe.stages import Stage


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_builtin_round_trips_through_toml(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name).resolved()
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.load(str(tmp_path / "recipe.toml")) == recipe


def test_load_several_errors_lists_all_with_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('seed = -1\n\n[backbone]\nname = "resnet5"\npoling = "avg"\n\n[images]\nresize = "crap"\n')
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(path), ["split.test=1.5", "classifier.name=logstic"])
    assert sorted(str(caught.value).splitlines()) == [
        f"  {path}:1: seed: Input should be greater than or equal to 0. Received: -1.",
        f"  {path}:4: backbone.name: There is no backbone called 'resnet5'. Did you mean resnet50?",
        f"  {path}:5: backbone.poling: unknown setting. Did you mean pooling?",
        f"  {path}:8: images.resize: expected squash, crop, pad. Received: 'crap'. Did you mean crop?",
        "  classifier.name: There is no classifier called 'logstic'. Did you mean logistic?",
        "  split.test: Input should be less than 1. Received: 1.5.",
        "Invalid recipe (6 errors):",
    ]


@pytest.mark.parametrize("kind", [Recipe, FinetuneRecipe])
def test_errors_of_settings_without_a_recipe_are_not_those_of_a_recipe(kind: type[Recipe]) -> None:
    with pytest.raises(RecipeError, match=r"^Invalid settings \(1 error\):\n  batch_size: "):
        kind.load(settings={"batch_size": 0})


def test_load_overrides_replace_settings() -> None:
    recipe = Recipe.load("quick", ["images.size=96", "backbone.weights=none"], {"seed": 3, "backbone.layer": None})
    assert (recipe.images.size, recipe.backbone.weights, recipe.seed) == (96, "none", 3)
    assert recipe.backbone.layer is None


@pytest.mark.parametrize(
    ("source", "overrides", "message"),
    [
        (None, ["split.test=0.9", "split.val=0.5"], "split: test = 0.9 and val = 0.5 leave no images for training"),
        (None, ["backbone=3"], "backbone: expected a section. Received: 3."),
        (None, ["images.size=abc"], "images.size: expected a whole number. Received: 'abc'."),
        ("quik", [], "No recipe and no file is called 'quik'. Did you mean quick?"),
        (None, ["seed"], "Expected --set SECTION.KEY=VALUE, such as --set stage.1.epochs=5. Received: 'seed'."),
        (None, ["seed=1", "seed.x=1"], "seed.x: seed is a setting"),
    ],
)
def test_load_invalid_override_or_name_raises(source: str | None, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        Recipe.load(source, overrides)


def test_load_invalid_toml_raises(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seed == 1")
    with pytest.raises(RecipeError, match="as TOML"):
        Recipe.load(str(tmp_path / "x.toml"))


def test_resolved_fills_in_backbone_defaults() -> None:
    recipe = Recipe.load(None, ["backbone.name=xception", "classifier.name=random-forest"]).resolved()
    assert recipe.images.size == 299
    assert recipe.classifier.tune is False


STAGE = '[[stage]]\nunfreeze = "head"\nepochs = 4\nlearning_rate = 1e-3\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("method = 3", "1: method: expected extract or finetune. Received: 3."),
        ('method = "fine"', "1: method: expected extract or finetune. Received: 'fine'."),
        ("stage = 3", "1: stage: expected at least one [[stage]]. Received: 3."),
        ('method = "finetune"', " stage: expected at least one [[stage]]."),
        ('[stage]\nunfreeze = "head"', "1: stage: expected at least one [[stage]]. Received: {'unfreeze': 'head'}."),
        ("stage = []", "1: stage: expected at least one [[stage]]"),
        ("stage = [3]", "1: stage.1: expected a section. Received: 3."),
        ('head = "mlp"\n[[stage]]', "1: head: expected a section. Received: 'mlp'."),
        ("[images]\nsize = 1e3", "2: images.size: expected a whole number. Received: 1000.0."),
        ("[classifier]\ntune = 1", "2: classifier.tune: expected true or false. Received: 1."),
        ("seed = nan", "1: seed: expected a whole number. Received: nan."),
        ('"méthode" = "x"', " méthode: unknown setting. Did you mean method?"),
        ("[augmentation]\nzoom_range = [nan, 1]", "2: augmentation.zoom_range: expected a number from 0 to 1, or two"),
        (
            "[augmentation]\nbrightness_range = [true, 2]",
            "2: augmentation.brightness_range: expected two positive numbers",
        ),
        (
            "[augmentation]\nrandom_crop = 256",
            "2: augmentation.random_crop: expected the share of each side that is cut off, from 0 to below 1, such as "
            "0.125 for 224 of 256 pixels. Received: 256.",
        ),
        (
            "[augmentation]\nrandom_resized_crop = [0.08, 1.5]",
            "2: augmentation.random_resized_crop: expected the smallest and the largest share of the image's area, "
            "above 0 and up to 1, such as [0.08, 1]. Received: [0.08, 1.5].",
        ),
        (
            "[augmentation]\nrandom_resized_crop = [0.5, 1]\ncrop_ratio = [1.2, 2]",
            "3: augmentation.crop_ratio: expected a lower limit of at most 1 and an upper one of at least 1. Received: "
            "[1.2, 2].",
        ),
        (
            "[augmentation]\nrandom_resized_crop = [0.5, 1]\nrandom_crop = 0.1",
            "1: augmentation: random_crop and random_resized_crop both crop the image; set one of them",
        ),
        (
            "[augmentation]\ncrop_ratio = [0.5, 2]",
            "1: augmentation: crop_ratio is a setting of random_resized_crop, which is not set",
        ),
        ("[augmentation]\nhue = 18", "2: augmentation.hue: Input should be less than or equal to 0.5"),
        (
            "[augmentation]\nsaturation = 1.5",
            "2: augmentation.saturation: expected a number from 0 to 1, or two numbers of at least 0, the lower first. "
            "Received: 1.5.",
        ),
        ("[augmentation]\nrotation_range = nan", "2: augmentation.rotation_range: Input should be a finite number"),
        (
            '[head]\nkind = "mlp"\nstart = "probe"',
            "1: head: head.start = probe is not possible for head.kind = mlp, only for linear",
        ),
        ("[balance]\ntau = 2.0", "1: balance: tau is a setting of method logit-adjustment, not of none"),
        (
            '[balance]\nmethod = "focus"',
            "2: balance.method: There is no class balancing method called 'focus'. Did you mean focal?",
        ),
        (
            "[head]\nbatch_norm = true",
            "1: head: head.batch_norm needs a hidden layer, and head.kind = linear has none. Expected mlp or "
            "flatten-mlp",
        ),
        (
            '[head]\nkind = "mlp"\nunits = [64, 0]',
            "3: head.units: expected a whole number from 1 to 65536, or a list of them, one per hidden layer (at most "
            "8), such as [4096, 4096]. Received: [64, 0].",
        ),
        ('[head]\nkind = "mlp"\nunits = 0', "3: head.units: expected a whole number from 1 to 65536, or a list"),
        ('[head]\nkind = "mlp"\nunits = []', "3: head.units: expected a whole number from 1 to 65536, or a list"),
        (
            'batch_size = 1\n[head]\nkind = "mlp"\nbatch_norm = true\n' + STAGE,
            " head.batch_norm needs the statistics of several images. Expected batch_size of at least 2.",
        ),
        ("[head]\nunits = 3", "1: head: head.units needs a hidden layer, and head.kind = linear has none"),
    ],
)
def test_load_invalid_values_name_line_and_expectation(text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text, "utf-8")
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(tmp_path / "x.toml"))
    assert f"{tmp_path / 'x.toml'}:{error}" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ('optimizer = "adam"\nmomentum = 0.9', "optimizer adam has no setting momentum; it belongs to sgd, rmsprop"),
        ('optimizer = "rmsprop"\nnesterov = true', "optimizer rmsprop has no setting nesterov; it belongs to sgd"),
        ("inverse_time_decay = 0.5", "inverse_time_decay is a setting of schedule inverse-time, not of constant"),
        ('schedule = "inverse-time"', "schedule inverse-time needs inverse_time_decay, such as 0.001, which halves"),
        ("plateau_factor = 0.5", "plateau_factor is a setting of schedule plateau, not of constant"),
        (
            '[head]\nkind = "flatten-mlp"\n[backbone]\npooling = "max"',
            "needs backbone.pooling = flatten",
        ),
    ],
)
def test_load_conflicting_settings_raise(more: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(STAGE + more)
    with pytest.raises(RecipeError, match=error):
        Recipe.load(str(tmp_path / "x.toml"))


def test_load_byte_order_mark_without_method_is_finetune(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("\ufeff" + STAGE, "utf-8")
    recipe = Recipe.load(str(tmp_path / "x.toml"))
    assert isinstance(recipe, FinetuneRecipe)
    assert recipe.resolved().head.start == "probe"


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("stage.0.epochs=1", "stage.0.epochs: there is no stage 0. The recipe has 1 stage, numbered from 1."),
        ("stage.x.epochs=1", "stage.x.epochs: there is no stage x."),
        ("stage.2.epochs=1", "stage.2.epochs: there is no stage 2."),
        ("stage.epochs=1", "stage.epochs: expected stage.N.KEY with N from 1 to 1."),
        ("stage.1=3", "stage.1: expected stage.N.KEY with N from 1 to 1."),
        ("stage.1.epochs=1.5", "stage.1.epochs: expected auto or a whole number. Received: 1.5."),
    ],
)
def test_load_stage_overrides_count_from_one(override: str, error: str) -> None:
    with pytest.raises(RecipeError) as caught:
        FinetuneRecipe.load(None, [override])
    assert error in str(caught.value)
    assert FinetuneRecipe.load(None, ["stage.1.epochs=3"]).stage[0].epochs == 3


def test_stage_learning_rate_follows_schedule() -> None:
    stage = Stage(unfreeze="head", epochs=10, learning_rate=0.4, schedule="cosine", warmup=0.2)
    rates = [stage.learning_rate_at(done) for done in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    flat = stage.model_copy(update={"schedule": "constant"})
    assert [flat.learning_rate_at(done) for done in (1, 2, 9)] == pytest.approx([0.2, 0.4, 0.4])


def test_recipes_compare_with_the_score_that_the_default_has() -> None:
    score = toml_source.head_of(builtin_recipe("default").read_text("utf-8"))["score"]
    own = re.findall(r"clothing (0\.\d+)", score)
    others = [toml_source.head_of(builtin_recipe(name).read_text("utf-8")).get("score", "") for name in recipe_names()]
    assert {value for text in others for value in re.findall(r"default[^;:]*: (0\.\d+)", text)} == {*own}
