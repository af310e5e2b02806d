"""``transfer-cli finetune``, ``recipes`` and ``preview`` as users run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.conftest import FINETUNE_WORDS, TINY, TINY_WORDS
from transfer_cli.cli.main import main
from transfer_cli.recipe.builtin_recipes import recipe_names, recipes_folder
from transfer_cli.recipe.recipes import FinetuneRecipe, Recipe


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.integration
def test_finetune_prints_stages_and_epochs(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS]
    code, out, err = call(*arguments)
    run = "runs/colours-mobilenet@0.25-finetune"
    assert (code, out) == (0, f"{run}\n")
    lines = [line.split(" (")[0].split(":")[0].split(",")[0] for line in err.splitlines()]
    assert [line for line in lines if not line.startswith("logistic")] == [
        "36 images",
        "warning",
        "starting TensorFlow",
        "reading images",
        "starting the training",
        "split",
        "warning",
        "features by mobilenet@0.25",
        "tuning logistic by cross-validation",
        "preparing stage 1 of 2",
        "stage 1 of 2",
        "epoch 0",
        "stage 1 of 2",
        "epoch 1 of 2",
        "epoch 2 of 2",
        "preparing stage 2 of 2",
        "stage 2 of 2",
        "stage 2 of 2",
        "epoch 3",
        "epoch 4",
        next(line for line in lines if line.startswith(("kept", "fine-tuning did not improve"))),
        "converting the network",
        "scoring",
        *[line for line in lines if line.startswith(("val", "test"))],
        "next",
        "next",
    ]
    assert "the best epoch was chosen on it" in err
    again = call("--quiet", *arguments)
    assert again == (0, f"{run}\n", "")


def test_finetune_json_has_metrics(finetuned: Path, colours: Path, two_stages: Path) -> None:
    arguments = ["finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, "-o", finetuned]
    code, out, _ = call("--json", "--quiet", *arguments)
    assert code == 0
    assert json.loads(out)["metrics"] == json.loads((finetuned / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing"], 3, "error: There is no folder missing."),
        (["{colours}", "--backbone", "resnet5"], 2, "Did you mean resnet50?"),
        (["{colours}", "--recipe", "last-blok"], 3, "Did you mean last-block?"),
        (["{colours}", "--recipe", "snow-leopard"], 3, "snow-leopard is a recipe for extract, not for finetune."),
        (["{colours}", "--set", "stage.1.epoch=3"], 3, "stage.1.epoch: unknown setting. Did you mean epochs?"),
        (["{colours}", "--set", "stage.9.epochs=3"], 3, "stage.9.epochs: there is no stage 9. The recipe has 1 stage"),
        (["{colours}", "--set", "classifier.name=knn"], 3, "classifier: unknown setting. Expected one of method"),
    ],
)
def test_finetune_wrong_usage_is_error(
    arguments: list[str], code: int, message: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given, out, err = call("finetune", *(word.format(colours=colours) for word in arguments))
    assert (given, out) == (code, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_extract_finetune_recipe_is_error(colours: Path) -> None:
    code, _, err = call("extract", colours, "--recipe", "last-block")
    assert code == 3
    assert "Use: transfer-cli finetune FOLDER --recipe last-block" in err


def test_recipes_list_has_cost_and_score() -> None:
    code, out, _ = call("recipes", "list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == recipe_names()
    data = json.loads(call("--json", "recipes", "list")[1])
    assert {fact["name"]: fact["method"] for fact in data}["snow-leopard"] == "extract"
    for fact in data:
        # The header of each recipe has a summary, its command, its cost and its score.
        assert fact.keys() == {"name", "method", "summary", "command", "cost", "score", "recommended"}
        assert fact["command"].startswith(f"transfer-cli {fact['method']} photos")
        assert "tba" not in fact["cost"] + fact["score"]


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_show_and_copy_are_identical(name: str, tmp_path: Path) -> None:
    text = (recipes_folder() / f"{name}.toml").read_text()
    assert call("recipes", "show", name)[:2] == (0, text)
    target = tmp_path / "mine.toml"
    code, out, err = call("recipes", "copy", name, target)
    assert (code, out) == (0, f"{target}\n")
    assert target.read_text() == text
    assert f"transfer-cli {Recipe.load(name).method} FOLDER --recipe {target}" in err
    assert call("recipes", "copy", name, target)[0] == 3
    code, out, err = call("recipes", "check", target)
    assert code == 0
    (tmp_path / "resolved.toml").write_text(out)
    assert Recipe.load(str(tmp_path / "resolved.toml")) == Recipe.load(name).resolved()


def test_recipes_show_unknown_suggests_nearest() -> None:
    code, _, err = call("recipes", "show", "defalt")
    assert code == 2
    assert "There is no recipe called 'defalt'. Did you mean default?" in err


def test_recipes_check_lists_all_errors_with_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'method = "finetune"\n'
        "[head]\n"
        'kind = "liner"\n'
        "[[stage]]\n"
        'unfreeze = "head"\n'
        "epochs = 0\n"
        "learning_rate = 1e-3\n"
        "[[stage]]\n"
        'unfreeze = "lest:3"\n'
        "learning_rat = 1e-3\n"
        'optimizer = "adm"\n'
        "[augmentation]\n"
        "rotation = 40\n"
        "zoom_range = [1.2, 0.8]\n"
        'fill_mode = "nearst"\n'
    )
    code, out, err = call("recipes", "check", path)
    assert (code, out) == (3, "")
    assert err.splitlines()[0] == "error: Invalid recipe (10 errors):"
    assert sorted(err.splitlines()[1:]) == [
        f"  {path}:10: stage.2.learning_rat: unknown setting. Did you mean learning_rate?",
        f"  {path}:11: stage.2.optimizer: There is no optimizer called 'adm'. Did you mean adam?",
        f"  {path}:13: augmentation.rotation: unknown setting. Did you mean rotation_range?",
        f"  {path}:14: augmentation.zoom_range: expected a number from 0 to 1, or two positive numbers, "
        "the lower first. Received: [1.2, 0.8].",
        f"  {path}:15: augmentation.fill_mode: expected nearest, constant, reflect, wrap. Received: 'nearst'. "
        "Did you mean nearest?",
        f"  {path}:3: head.kind: There is no head called 'liner'. Did you mean linear?",
        f"  {path}:6: stage.1.epochs: expected auto or a number greater than or equal to 1. Received: 0.",
        f"  {path}:8: stage.2.epochs: this setting is required.",
        f"  {path}:8: stage.2.learning_rate: this setting is required.",
        f"  {path}:9: stage.2.unfreeze: expected head, last:N, last:N%, from:LAYER, all or norms-and-biases. "
        "Received: 'lest:3'.",
    ]


def test_preview_draws_augmented_images(
    colours: Path, finetuned: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["augmentation.random_crop=0.2", "augmentation.hue=0.1", "augmentation.saturation=0.5"]
    options = [part for word in ("images.size=32", *words) for part in ("--set", word)]
    code, out, err = call("preview", colours, "--recipe", two_stages, "--backbone", TINY, *options)
    assert (code, out) == (0, "plots/colours-preview.png\n"), err
    grid = np.asarray(Image.open("plots/colours-preview.png"))
    assert grid.shape == (3 * 52, 8 * 36 - 4, 3)

    from transfer_cli.data.decoding import decode
    from transfer_cli.training.augmentation.augmenter import Augmenter

    recipe = FinetuneRecipe.load(str(two_stages), words, {"backbone.name": TINY})
    files = sorted(path.relative_to(colours).as_posix() for path in colours.rglob("*.png"))
    for row, name in enumerate(("blue", "green", "red")):
        index = next(index for index, path in enumerate(files) if path.startswith(name))
        image = decode((colours / files[index]).read_bytes(), 32, "squash")
        expected = [image, *(Augmenter(recipe.augmentation, recipe.seed)(image, epoch, index) for epoch in range(1, 8))]
        for column, cell in enumerate(expected):
            given = grid[row * 52 + 20 : row * 52 + 52, column * 36 : column * 36 + 32]
            np.testing.assert_array_equal(given, cell)
    again = call("preview", colours, "--set", "images.size=32")
    assert again[0] == 0
    assert not np.array_equal(np.asarray(Image.open("plots/colours-preview.png")), grid)
    Image.fromarray(grid).save("mine.png")
    assert "is an image and would be lost" in call("preview", colours, "-o", "mine.png")[2]
    assert call("preview", colours, "-o", "photo.xyz")[0] == 2


@pytest.mark.integration
def test_finetune_precision_reaches_recipe(colours: Path, tmp_path: Path) -> None:
    arguments = [*TINY_WORDS, "--runtime", "keras", "--set", "stage.1.epochs=1", "--set", "stage.1.unfreeze=head"]
    result = CliRunner().invoke(
        main, ["finetune", str(colours), *arguments, "--precision", "mixed_bfloat16", "-o", str(tmp_path / "run")]
    )
    assert result.exit_code == 0, result.stderr
    assert "training on the CPU in mixed_bfloat16" in result.stderr
    assert 'precision = "mixed_bfloat16"\naccumulate = 1\ngpus = "auto"' in (tmp_path / "run/recipe.toml").read_text()
