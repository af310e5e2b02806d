"""The network that a fine-tuning keeps: mixed weights, and a classifier fitted to their features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE, run_command
from tests.finetuning import network_of, rows_of, run_on
from tests.stage_training import RecordingProgress
from transfer_cli import load, predict
from transfer_cli.catalog.backbones import find
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import RecipeError
from transfer_cli.models.backbone import build
from transfer_cli.models.pretrained_branch import PRETRAINED
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop.final_network import FinalNetwork, mean_of

RECIPE = """
method = "finetune"

[split]
val = 0.3

[refit]
when = "never"

[early_stopping]
keep = "last"

[final]
classifier = "features"
interpolate = 0.5

[[stage]]
unfreeze = "last:6"
epochs = 2
learning_rate = 1e-3
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "final.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def half(colours: Path, weights: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a finished run that keeps weights half of the way, and what it printed."""
    run, progress = tmp_path_factory.mktemp("half") / "run", RecordingProgress()
    run_on(colours, run, f"backbone.weights={weights}", "inference.runtime=auto", source=recipe, progress=progress)
    return run, progress.notes


def backbone_weights(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights of a saved network below its classifier, by layer."""
    layers = [layer for layer in network_of(run).layers if layer.weights and layer.name != "logits"]
    return {f"{layer.name}/{number}": array for layer in layers for number, array in enumerate(layer.get_weights())}


def is_pretrained(run: Path, weights: Path) -> bool:
    """Return whether a run keeps exactly the pretrained weights."""
    kept, pretrained = backbone_weights(run), build(find(TINY), weights=str(weights), size=TINY_SIZE)
    return all(
        np.array_equal(kept[f"{layer.name}/{number}"], array)
        for layer in pretrained.layers
        for number, array in enumerate(layer.get_weights())
    )


def events_of(run: Path, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == kind]


def test_weights_are_half_of_the_way(half: tuple[Path, list[str]], weights: Path) -> None:
    run, notes = half
    pretrained = build(find(TINY), weights=str(weights), size=TINY_SIZE)
    kept = backbone_weights(run)
    with np.load(run / "checkpoints/last.npz") as file:
        trained = {
            (int(name.split("/")[2]), int(name.split("/")[3])): file[name]
            for name in file.files
            if name.startswith("weights/backbone/")
        }
    moved = 0
    for place, layer in enumerate(pretrained.layers):
        for number, before in enumerate(layer.get_weights()):
            after = trained.get((place, number), before)
            moved += not np.array_equal(before, after)
            np.testing.assert_allclose(kept[f"{layer.name}/{number}"], (before + after) / 2, rtol=1e-6, atol=1e-7)
    assert moved >= 2
    assert "the trained network, 50 % of the way from the pretrained weights" in "\n".join(notes)


def test_last_epoch_is_kept(half: tuple[Path, list[str]]) -> None:
    run, notes = half
    assert [path.name for path in (run / "checkpoints").glob("best-*")] == ["best-0002.npz"]
    assert not [line for line in notes if "best so far" in line]
    assert [line for line in notes if line.startswith("trained for 2 epochs: val accuracy")]


def test_tables_are_predictions_of_the_bundle(half: tuple[Path, list[str]], colours: Path) -> None:
    expected = {row["path"]: row for row in rows_of(half[0] / "predictions_test.csv")}
    model = load(str(half[0]))
    (batch,) = predict(model, [str(colours / path) for path in expected], batch_size=len(expected))
    for row, written in zip(batch.probabilities, expected.values(), strict=True):
        np.testing.assert_allclose(row, [float(written[f"p_{name}"]) for name in model.class_names], atol=2e-5)
    assert network_of(half[0]).get_layer("level_features") is not None


def test_gain_over_the_probe_is_reported(half: tuple[Path, list[str]]) -> None:
    (gain,) = events_of(half[0], "gain")
    metrics = json.loads((half[0] / "metrics.json").read_text())["test"]
    assert gain["part"] == "test"
    assert gain["after"]["accuracy"] == pytest.approx(metrics["accuracy"]["value"])
    assert gain["accuracy"]["value"] == pytest.approx(gain["after"]["accuracy"] - gain["before"]["accuracy"])
    assert [line for line in half[1] if "linear probe" in line and "test" in line]


@pytest.mark.integration
def test_share_of_0_is_the_linear_probe(colours: Path, weights: Path, recipe: str, tmp_path: Path) -> None:
    """The network is the pretrained one, with the probabilities of extract on the same images."""
    from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest
    from transfer_cli.training.extract import extract

    progress, words = RecordingProgress(), {"backbone.weights": str(weights), "final.interpolate": 0}
    overrides = [f"{name}={value}" for name, value in words.items()]
    # Without validation images both learn from the same ones.
    run_on(colours, tmp_path / "run", *overrides, "split.val=0", source=recipe, progress=progress)
    assert is_pretrained(tmp_path / "run", weights)
    assert "kept the pretrained weights (final.interpolate = 0)" in "\n".join(progress.notes)
    assert not events_of(tmp_path / "run", "share")
    settings = {"backbone.name": TINY, "backbone.weights": str(weights), "images.size": TINY_SIZE}
    split = Split.read(tmp_path / "run/split.csv")
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "probe"), split=split)
    extract(request, ExtractRecipe.load(None, ["inference.runtime=keras"], settings))
    for one, other in zip(
        rows_of(tmp_path / "run/predictions_test.csv"), rows_of(tmp_path / "probe/predictions_test.csv"), strict=True
    ):
        for name in ("p_blue", "p_green", "p_red"):
            assert float(one[name]) == pytest.approx(float(other[name]), abs=0.05)


@pytest.fixture(scope="module")
def averaged(colours: Path, weights: Path, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run that keeps a third of the linear probe, and the trained weights."""
    run = tmp_path_factory.mktemp("averaged") / "run"
    overrides = (f"backbone.weights={weights}", "final.interpolate=1", "final.probe=0.25", "inference.runtime=auto")
    run_on(colours, run, *overrides, source=recipe)
    return run


def test_the_mean_with_the_probe_has_the_layers_of_both(averaged: Path, weights: Path) -> None:
    pretrained, kept = build(find(TINY), weights=str(weights), size=TINY_SIZE), backbone_weights(averaged)
    copied = {name.removeprefix(PRETRAINED): array for name, array in kept.items() if name.startswith(PRETRAINED)}
    before = {
        f"{layer.name}/{number}": array
        for layer in pretrained.layers
        for number, array in enumerate(layer.get_weights())
    }
    assert copied
    for name, array in before.items():
        np.testing.assert_array_equal(copied.get(name, kept[name]), array)
    assert any(not np.array_equal(kept[name], before[name]) for name in copied)


def test_the_mean_with_the_probe_predicts_the_mean_of_the_logits(averaged: Path, colours: Path) -> None:
    """The upper and the lower rows of the classifier's kernel are for the trained and the pretrained features."""
    network, paths = network_of(averaged), [row["path"] for row in rows_of(averaged / "predictions_test.csv")]
    width = network.get_layer("level_features").output.shape[-1]
    kernel, _ = network.get_layer("logits").get_weights()
    assert len(kernel) == 2 * width
    model = load(str(averaged))
    (batch,) = predict(model, [str(colours / path) for path in paths], batch_size=len(paths))
    for row, written in zip(batch.probabilities, rows_of(averaged / "predictions_test.csv"), strict=True):
        np.testing.assert_allclose(row, [float(written[f"p_{name}"]) for name in model.class_names], atol=2e-5)


def test_mean_of_logits_by_hand() -> None:
    rng = np.random.default_rng(0)
    one, two = (Linear(rng.normal(size=(4, 3)), rng.normal(size=3)) for _ in range(2))
    features = [rng.normal(size=(5, 4)).astype(np.float32) for _ in range(2)]
    logits = [rows @ each.kernel + each.bias for rows, each in zip(features, (one, two), strict=True)]
    expected = np.exp(0.75 * logits[0] + 0.25 * logits[1])
    expected /= expected.sum(axis=1, keepdims=True)
    found = mean_of(one, two, 0.25).probabilities(np.concatenate(features, axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_new_training_starts_from_the_trained_layers(
    averaged: Path, colours: Path, recipe: str, tmp_path: Path
) -> None:
    """The pretrained layers beside them are no weights to start from."""
    run_on(colours, tmp_path / "run", f"backbone.weights={averaged}", "stage.1.unfreeze=head", source=recipe)
    first, second = backbone_weights(averaged), backbone_weights(tmp_path / "run")
    assert [name for name in second if PRETRAINED not in name]
    for name, array in second.items():
        np.testing.assert_array_equal(array, first[name])


@pytest.mark.integration
def test_auto_decides_on_val_and_a_refit_trains_on_val(
    colours: Path, weights: Path, recipe: str, tmp_path: Path
) -> None:
    overrides = (f"backbone.weights={weights}", "final.probe=auto", "refit.when=always")
    progress = RecordingProgress()
    run_on(colours, tmp_path / "run", *overrides, source=recipe, progress=progress)
    (event,) = events_of(tmp_path / "run", "share")
    assert event["probe"] in (1, 1 / 3)
    assert ("refitting on train + val" in "\n".join(progress.notes)) == (event["probe"] < 1)
    assert "whether fine-tuning helps was decided on it, before it was trained on, too" in (
        tmp_path / "run/model/MODEL_CARD.md"
    ).read_text().replace("\n", " ")


@pytest.mark.integration
def test_killed_while_it_chooses_ends_with_the_same_bytes(
    colours: Path, weights: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"backbone.weights={weights}", "final.probe=auto", "refit.when=always")
    overrides += ("augmentation.horizontal_flip=auto",)
    run_on(colours, tmp_path / "unbroken", *overrides, source=recipe)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for step in ("choose", "build"):
        with monkeypatch.context() as patched:
            patched.setattr(FinalNetwork, step, killed)
            with pytest.raises(KeyboardInterrupt):
                run_on(colours, tmp_path / "run", *overrides, source=recipe)
    run_on(colours, tmp_path / "run", *overrides, source=recipe)
    for name in ("metrics.json", "predictions_test.csv", "predictions_val.csv", "model/linear.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    first, second = (backbone_weights(tmp_path / name) for name in ("run", "unbroken"))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert len(events_of(tmp_path / "run", "flips")) == 1


@pytest.mark.integration
def test_a_mixture_that_forgets_a_layer_is_noticed(
    colours: Path, weights: Path, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: the weights stay the trained ones, and the probe is not that of the pretrained network."""
    monkeypatch.setattr(FinalNetwork, "mix", lambda *_: None)
    run_on(colours, tmp_path / "run", f"backbone.weights={weights}", "final.interpolate=0", source=recipe)
    assert not is_pretrained(tmp_path / "run", weights)


@pytest.mark.integration
def test_several_labels(colours: Path, weights: Path, recipe: str, tmp_path: Path) -> None:
    rows = [
        f"{path},{path.parent.name};{'warm' if path.parent.name == 'red' else 'cold'}"
        for path in colours.rglob("*.png")
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,labels", *sorted(rows)]) + "\n")
    result = run_on(tmp_path / "labels.csv", tmp_path / "run", f"backbone.weights={weights}", source=recipe)
    assert result.metrics["test"]["mean_average_precision"]["value"] > 0
    assert network_of(tmp_path / "run").get_layer("probabilities").activation.__name__ == "sigmoid"


@pytest.mark.integration
def test_export(averaged: Path, tmp_path: Path) -> None:
    done = run_command(
        "export", averaged, "--format", "onnx,litert,litert-int8", "--max-drop", "100", "-o", tmp_path / "out"
    )
    assert done.code == 0, done.err


@pytest.mark.integration
def test_explain(averaged: Path, colours: Path, tmp_path: Path) -> None:
    done = run_command("explain", averaged, next(colours.rglob("*.png")), "-o", tmp_path / "maps")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["head.kind=mlp", "final.classifier=features"], "this recipe has another head, pooling or layer"),
        (["backbone.pooling=max", "final.classifier=features"], "this recipe has another head, pooling or layer"),
        (
            ["final.classifier=head", "final.probe=0.5"],
            "final.probe and final.interpolate need",
        ),
        (["final.classifier=head", "final.interpolate=0"], "final.probe and final.interpolate need"),
        (["final.interpolate=2"], "less than or equal to 1"),
        (["final.probe=2"], "less than or equal to 1"),
    ],
)
def test_recipe_settings_that_do_not_fit(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        FinetuneRecipe.load(None, settings)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ([], "features"),
        (["head.kind=mlp"], "head"),
        (["final.classifier=head"], "head"),
        (["backbone.pooling=max"], "head"),
        (["backbone.weights=none"], "head"),
    ],
)
def test_auto_keeps_the_head_where_features_do_not_fit(settings: list[str], kept: str) -> None:
    final = FinetuneRecipe.load(None, settings).resolved().final
    assert final.classifier == kept
    assert final.probe == ("auto" if kept == "features" else 0)
