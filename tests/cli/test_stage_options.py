"""``finetune --epochs``, ``--lr`` and ``--batch-size`` set the last stage, and say which."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import FINETUNE_WORDS, TINY
from transfer_cli.cli.main import main
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest

OPTIONS = ("--epochs", "3", "--lr", "2e-4", "--batch-size", "7")


class ReachedError(Exception):
    """The training would begin."""


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> list[FinetuneRecipe]:
    """Return the recipes that finetune would train by; it does not begin."""
    import transfer_cli.training.finetune

    received: list[FinetuneRecipe] = []

    def train(request: TrainingRequest, recipe: FinetuneRecipe) -> None:
        received.append(recipe)
        raise ReachedError

    monkeypatch.setattr(transfer_cli.training.finetune, "finetune", train)
    return received


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def test_one_stage_is_set_without_a_line(recipes: list[FinetuneRecipe], colours: Path) -> None:
    result = call("finetune", colours, *OPTIONS)
    assert isinstance(result.exception, ReachedError)
    assert result.stderr == ""
    (recipe,) = recipes
    expected = FinetuneRecipe.load(None, ["stage.1.epochs=3", "stage.1.learning_rate=2e-4", "batch_size=7"])
    assert recipe == expected


def test_several_stages_the_last_is_set_and_said(
    recipes: list[FinetuneRecipe], colours: Path, two_stages: Path
) -> None:
    result = call("finetune", colours, "--backbone", TINY, "--recipe", two_stages, *OPTIONS)
    assert isinstance(result.exception, ReachedError)
    (recipe,) = recipes
    assert [stage.epochs for stage in recipe.stage] == [2, 3]
    assert [stage.learning_rate for stage in recipe.stage] == [1e-2, 2e-4]
    assert recipe.batch_size == 7
    which = "sets stage 2 of 2 (unfreeze from:conv_dw_13); stage 1 keeps"
    assert result.stderr.splitlines() == [
        f"--epochs 3 {which} 2 (to change it: --set stage.1.epochs=VALUE)",
        f"--lr 0.0002 {which} 0.01 (to change it: --set stage.1.learning_rate=VALUE)",
    ]


def test_set_of_another_stage_is_kept(recipes: list[FinetuneRecipe], colours: Path, two_stages: Path) -> None:
    call(
        "finetune", colours, "--backbone", TINY, "--recipe", two_stages, "--epochs", "auto", "--set", "stage.1.epochs=9"
    )
    assert [stage.epochs for stage in recipes[0].stage] == [9, "auto"]


@pytest.mark.parametrize(
    ("option", "override", "message"),
    [
        (("--epochs", "3"), "stage.1.epochs=4", "--epochs 3 and --set stage.1.epochs=4 are the same setting."),
        (("--lr", "0.1"), "stage.last.learning_rate=1", "--lr 0.1 and --set stage.1.learning_rate=1.0 are the same"),
        (("--batch-size", "8"), "batch_size=9", "--batch-size 8 and --set batch_size=9 are the same setting."),
    ],
)
def test_option_and_set_that_differ_are_an_error(
    option: tuple[str, str], override: str, message: str, recipes: list[FinetuneRecipe], colours: Path
) -> None:
    result = call("finetune", colours, *option, "--set", override)
    assert (result.exit_code, recipes) == (2, [])
    assert message in result.stderr
    key = override.partition("=")[0]
    assert isinstance(call("finetune", colours, *option, "--set", f"{key}={option[1]}").exception, ReachedError)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--epochs", "0"), "Expected a whole number from 1 to 10000, or auto. Received: 0."),
        (("--epochs", "2.5"), "Expected a whole number from 1 to 10000, or auto. Received: 2.5."),
        (("--lr", "0"), "Expected a number above 0 and at most 10, such as 0.001 or 3e-4. Received: 0."),
        (("--lr", "nan"), "Expected a number above 0 and at most 10, such as 0.001 or 3e-4. Received: nan."),
        (("--lr", "1,5"), "Expected a number above 0 and at most 10, such as 0.001 or 3e-4. Received: 1,5."),
        (("--batch-size", "0"), "0 is not in the range"),
    ],
)
def test_wrong_value_is_a_usage_error(option: tuple[str, str], message: str, colours: Path) -> None:
    result = call("finetune", colours, *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["finetune", "--set", "stage.1.unfreeze=from:conv_pw_99"],
            2,
            "Stage 1 of the recipe does not fit mobilenet",
        ),
        (["finetune", "--layer", "block_99_add"], 2, "There is no layer of mobilenet_v2 called 'block_99_add'."),
        (["extract", "--layer", "block_99_add"], 2, "There is no layer of mobilenet_v2 called 'block_99_add'."),
        (["finetune", "--recipe", "snow-leopard"], 3, "Built-in recipes for finetune: alexnet, classic-augmentation,"),
        (["extract", "--recipe", "last-block"], 3, "Built-in recipes for extract: quick, snow-leopard."),
        (["extract", "--recipe", "quik"], 3, "Did you mean quick? Expected one of quick, snow-leopard, or the path"),
    ],
)
def test_recipe_that_does_not_fit_is_refused_before_tensorflow(
    words: list[str], code: int, message: str, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    result = call(words[0], colours, *words[1:])
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_unknown_recipe_file_names_the_nearest_file(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("")
    result = call("finetune", colours, "--recipe", tmp_path / "mime.toml")
    assert f"Did you mean {tmp_path / 'mine.toml'}?" in result.stderr


@pytest.mark.integration
def test_options_are_in_the_recipe_of_the_run(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = call("finetune", colours, *FINETUNE_WORDS, "--epochs", "1", "--lr", "1e-3", "--batch-size", "9", "-o", run)
    assert result.exit_code == 0, result.stderr
    text = (run / "recipe.toml").read_text()
    assert "batch_size = 9\n" in text
    assert "epochs = 1\nlearning_rate = 0.001\n" in text
    assert "epoch 1 of 1:" in result.stderr


def test_lr_find_next_command_has_the_options(colours: Path, tmp_path: Path) -> None:
    from transfer_cli.cli.lr_find import _next_command

    options: dict[str, Any] = dict.fromkeys(
        ("recipe", "weights", "pooling", "layer", "class_level", "path_column", "label_column", "images")
    )
    options |= {"backbone": "embedded", "batch_size": 8, "overrides": ("images.size=32",)}
    expected = "transfer-cli finetune my --backbone embedded --batch-size 8 --set images.size=32"
    assert _next_command(Path("my"), options) == expected
