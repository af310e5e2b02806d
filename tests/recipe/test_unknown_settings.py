"""Words of other programs in a recipe are answered with the names of its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.errors import RecipeError
from transfer_cli.recipe import other_names
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe, Recipe
from transfer_cli.recipe.unknown_settings import all_settings

SETTINGS = {*all_settings(ExtractRecipe), *all_settings(FinetuneRecipe)}
INSIDE = "Preprocessing is inside the model: each network scales the pixels as it was pretrained."
AS_THEY_ARE = "Leave this setting out. Images are given as they are, with values from 0 to 255."


def answer(kind: type[Recipe], override: str, source: str | None = None) -> str:
    """Return what is said about the only faulty setting."""
    with pytest.raises(RecipeError) as caught:
        kind.load(source, [override])
    (line,) = str(caught.value).splitlines()[1:]
    return line.strip()


def test_every_name_is_a_setting() -> None:
    assert {*other_names._NAME_OF.values()} <= SETTINGS
    words = [word for words in (*other_names._NAMES.values(), *other_names._REASONS) for word in words.split()]
    folded = [other_names._folded(word) for word in words]
    assert sorted({word for word in folded if folded.count(word) > 1}) == []


@pytest.mark.parametrize(
    "word",
    # [network] describes one, and its value is explained by its section (test_network).
    sorted({word for words in other_names._NAMES.values() for word in words.split()} - {"network"}),
)
def test_every_word_is_answered_with_its_setting(word: str) -> None:
    name = other_names.name_of(word)
    assert name is not None
    text = answer(FinetuneRecipe, f"{word}=1")
    shown = name.replace("stage.last", "stage.1")
    assert text in (
        f"{word}: unknown setting. Did you mean {shown}?",
        f"{word}: unknown setting. {shown} is a setting of extract; finetune has none like it.",
    )


@pytest.mark.parametrize("words", other_names._REASONS)
def test_every_word_that_is_no_setting_is_explained(words: str) -> None:
    for word in words.split():
        for kind in (ExtractRecipe, FinetuneRecipe):
            text = answer(kind, f"{word}=1")
            assert text.startswith(f"{word}: unknown setting. ")
            assert "Did you mean" not in text
            assert "Expected one of" not in text
            assert "{" not in text
            assert "stage.N" not in text


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("epochs=3", "epochs: unknown setting. Did you mean stage.1.epochs?"),
        ("EPOCHS=3", "EPOCHS: unknown setting. Did you mean stage.1.epochs?"),
        ("lr=0.1", "lr: unknown setting. Did you mean stage.1.learning_rate?"),
        ("learnin_rate=0.1", "learnin_rate: unknown setting. Did you mean stage.1.learning_rate?"),
        ("head.lr=0.1", "head.lr: unknown setting. Did you mean stage.1.learning_rate?"),
        ("stage.1.lr=0.1", "stage.1.lr: unknown setting. Did you mean learning_rate?"),
        ("stage.last.lr=0.1", "stage.1.lr: unknown setting. Did you mean learning_rate?"),
        ("stage.1.patience=3", "stage.1.patience: unknown setting. Did you mean early_stopping.patience?"),
        ("images.target_size=[64,64]", "images.target_size: unknown setting. Did you mean size?"),
        ("rescale=0.004", f"rescale: unknown setting. {INSIDE} {AS_THEY_ARE}"),
        ("augmentation.rescale=0.004", f"augmentation.rescale: unknown setting. {INSIDE} {AS_THEY_ARE}"),
        *(
            (
                f"{place}featurewise_center=true",
                f"{place}featurewise_center: unknown setting. Did you mean normalization.featurewise_center?",
            )
            for place in ("", "augmentation.")
        ),
        ("rotation_range=3", "rotation_range: unknown setting. Did you mean augmentation.rotation_range?"),
        ("pooling=max", "pooling: unknown setting. Did you mean backbone.pooling?"),
        ("imges.size=64", "imges: unknown setting. Did you mean images?"),
        ("train.epochs=3", "train: unknown section. epochs: Did you mean stage.1.epochs?"),
        ("head=mlp", "head: expected a section. Received: 'mlp'. Did you mean head.kind?"),
        (
            "stage.1.unfreeze=-20",
            "stage.1.unfreeze: expected head, last:N, last:N%, from:LAYER, all or norms-and-biases. Received: -20. Did "
            "you mean last:20 (train the last 20 layers)? To leave the first layers frozen, name the layer to train "
            "from: from:LAYER.",
        ),
        (
            "stage.1.unfreeze=true",
            "stage.1.unfreeze: expected head, last:N, last:N%, from:LAYER, all or norms-and-biases. Received: True. "
            "Did you mean all?",
        ),
        *(
            (
                f"stage.1.unfreeze={word}",
                "stage.1.unfreeze: expected head, last:N, last:N%, from:LAYER, all or norms-and-biases. Received: "
                f"'{word}'. Did you mean norms-and-biases?",
            )
            for word in ("BitFit", "biases", "norms-and-bias")
        ),
    ],
)
def test_finetune_says_what_a_word_is_called(override: str, text: str) -> None:
    assert answer(FinetuneRecipe, override) == text


@pytest.mark.parametrize("override", ["device=cpu", "gpu=0", "hardware.gpus=cpu", "hardware.gpus=0"])
def test_device_names_the_environment_variable(override: str) -> None:
    assert "CUDA_VISIBLE_DEVICES chooses the device: -1 uses the CPU" in answer(FinetuneRecipe, override)


@pytest.mark.parametrize("kind", [ExtractRecipe, FinetuneRecipe])
@pytest.mark.parametrize("word", ["freeze", "freeze_layers", "fine_tune_at"])
def test_freeze_says_that_the_trained_layers_are_named(word: str, kind: type[Recipe]) -> None:
    text = answer(kind, f"{word}=10")
    assert "counts the frozen layers, from the input" in text
    assert "stage.1.unfreeze = from:LAYER (this layer and all above it), last:N" in text
    assert "--set stage.1.unfreeze=head" in text
    assert "last:10" not in text


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("epochs=3", "epochs: unknown setting. stage.1.epochs is a setting of finetune; extract has none like it."),
        ("imgsz=64", "imgsz: unknown setting. Did you mean images.size?"),
        ("stage.1.epochs=3", " stage belongs to a recipe for finetune."),
        ("augmentation.zoom_range=0.1", " augmentation belongs to a recipe for finetune."),
        ("classifier=knn", "classifier: expected a section. Received: 'knn'. Did you mean classifier.name?"),
    ],
)
def test_extract_says_which_settings_are_of_finetune(override: str, text: str) -> None:
    assert answer(ExtractRecipe, override).endswith(text)


def test_several_stages_names_the_last() -> None:
    text = answer(FinetuneRecipe, "epochs=3", "gentle-two-stage")
    assert text == "epochs: unknown setting. Did you mean stage.2.epochs (the last of 2 stages)?"
    recipe = FinetuneRecipe.load("gentle-two-stage", ["stage.last.epochs=3"])
    assert [stage.epochs for stage in recipe.stage] == [5, 3]


def test_file_says_where_a_setting_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "epochs = 3\n\n[images]\nbatch_size = 8\nimgsz = 64\n\n[train]\nlr = 1e-3\n\n"
        '[[stage]]\nunfreeze = "head"\nepochs = 2\nlearning_rate = 0.1\nrescale = 0.1\n'
    )
    with pytest.raises(RecipeError) as caught:
        FinetuneRecipe.load(str(path))
    assert str(caught.value).splitlines() == [
        "Invalid recipe (5 errors):",
        f"  {path}:1: epochs: unknown setting. Did you mean stage.1.epochs (epochs below [[stage]])?",
        f"  {path}:4: images.batch_size: unknown setting. Did you mean batch_size (at the top of the file)?",
        f"  {path}:5: images.imgsz: unknown setting. Did you mean size?",
        f"  {path}:7: train: unknown section. lr: Did you mean stage.1.learning_rate (learning_rate below [[stage]])?",
        f"  {path}:14: stage.1.rescale: unknown setting. {INSIDE} {AS_THEY_ARE}",
    ]
