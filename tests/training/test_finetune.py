"""`finetune` through the Python API, on a tiny real network."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, TINY_SIZE, save_image
from tests.finetuning import AS_MADE, WORDS, network_of, rows_of, run_on, weights_of
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest, load, predict
from transfer_cli.catalog import backbones
from transfer_cli.data.split import Split
from transfer_cli.errors import OutputError, RecipeError, RunError, UnknownNameError, WeightsError
from transfer_cli.io.atomic import remove
from transfer_cli.models.backbone import build
from transfer_cli.models.pretrained_branch import PRETRAINED
from transfer_cli.recipe.builtin_recipes import recipe_names
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.loop import frozen_activations, training_step

UNCLIPPED = "stage.1.gradient_clip=1e30"
QUICK = ("default", "last-block", "small-cnn")
"""Shipped recipes that are run each time; the others are in the long sweep."""


def test_finetune_writes_all_files_of_a_run(finetuned: Path) -> None:
    names = sorted(path.relative_to(finetuned).as_posix() for path in finetuned.rglob("*") if path.is_file())
    best = next(name for name in names if name.startswith("checkpoints/best-"))
    assert names == [
        best,
        "checkpoints/last.npz",
        "command.txt",
        "confusion_test.csv",
        "confusion_val.csv",
        "curves_test.csv",
        "curves_val.csv",
        "environment.json",
        "events.jsonl",
        "features.parquet",
        "folder.txt",
        "history.csv",
        "metrics.json",
        "model/MODEL_CARD.md",
        "model/bundle.json",
        "model/graph.tflite",
        "model/linear.npz",
        "model/network.keras",
        "model/rejection.npz",
        "model/training_images.npz",
        "plots/confusion.png",
        "plots/history.png",
        "plots/preview.png",
        "predictions_test.csv",
        "predictions_val.csv",
        "recipe.toml",
        "skipped.csv",
        "split.csv",
    ]
    for name in ("confusion", "history", "preview"):
        image = np.asarray(Image.open(finetuned / f"plots/{name}.png").convert("RGB"))
        assert image.std() > 10
    bundle = json.loads((finetuned / "model/bundle.json").read_text())
    assert (bundle["kind"], bundle["class_names"]) == ("network", ["blue", "green", "red"])


def test_history_lists_all_epochs_and_the_best_is_kept(finetuned: Path) -> None:
    rows = rows_of(finetuned / "history.csv")
    assert [(row["epoch"], row["stage"]) for row in rows] == [
        ("0", "1"),
        ("1", "1"),
        ("2", "1"),
        ("3", "2"),
        ("4", "2"),
    ]
    assert rows[0]["loss"] == ""
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert (finetuned / f"checkpoints/best-{int(best['epoch']):04}.npz").is_file()
    metrics = json.loads((finetuned / "metrics.json").read_text())
    assert metrics["val"]["accuracy"]["value"] == pytest.approx(float(best["val_accuracy"]), abs=1e-5)
    assert metrics["val"]["log_loss"]["value"] == pytest.approx(float(best["val_loss"]), abs=1e-4)
    assert metrics["test"]["accuracy"]["value"] >= 0.6


def test_predict_on_a_finetuned_run_matches_its_tables(finetuned: Path, colours: Path) -> None:
    expected = {row["path"]: row for row in rows_of(finetuned / "predictions_test.csv")}
    model = load(str(finetuned))
    for batch in predict(model, [str(colours / path) for path in expected], batch_size=5):
        for path, row in zip(batch.paths, batch.probabilities, strict=True):
            written = expected[str(Path(path).relative_to(colours))]
            np.testing.assert_allclose(row, [float(written[f"p_{name}"]) for name in model.class_names], atol=2e-5)


@pytest.mark.integration
def test_epoch_0_predicts_as_the_linear_probe(colours: Path, weights: Path, tmp_path: Path) -> None:
    """Epoch 0 of a fine-tuning has the val predictions of the logistic regression that extract fits."""
    words = {**WORDS, "backbone.weights": str(weights), "split.val": 0.3}
    folder = ImageFolder.scan(colours)
    probe = ["classifier.name=logistic", "backbone.pooling=avg"]
    extract(TrainingRequest(folder, RunDirectory(tmp_path / "extract")), ExtractRecipe.load(None, probe, words))
    finetune(
        TrainingRequest(folder, RunDirectory(tmp_path / "run")), FinetuneRecipe.load(None, ["stage.1.epochs=1"], words)
    )
    first = rows_of(tmp_path / "run/history.csv")[0]
    metrics = json.loads((tmp_path / "extract/metrics.json").read_text())["val"]
    assert float(first["val_accuracy"]) == pytest.approx(metrics["accuracy"]["value"], abs=1e-6)
    assert float(first["val_loss"]) == pytest.approx(metrics["log_loss"]["value"], abs=1e-3)


@pytest.mark.integration
def test_linear_probe_with_two_classes(colours: Path, tmp_path: Path) -> None:
    two = tmp_path / "two"
    for name in ("blue", "red"):
        shutil.copytree(colours / name, two / name)
    result = run_on(two, tmp_path / "run", "stage.1.epochs=1", "stage.1.learning_rate=1e-9")
    assert result.metrics["test"]["accuracy"]["value"] == 1.0


def moving_statistics(network: keras.Model) -> dict[str, np.ndarray[Any, Any]]:
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len([norm for norm in norms if not norm.name.startswith(PRETRAINED)]) == 27
    return {
        f"{norm.name}/{name}": np.asarray(getattr(norm, name))
        for norm in norms
        for name in ("moving_mean", "moving_variance")
    }


def equal_bits(before: dict[str, Any], after: dict[str, Any]) -> bool:
    # The pretrained layers beside the trained ones have the same ones.
    return all(before[name.removeprefix(PRETRAINED)].tobytes() == array.tobytes() for name, array in after.items())


UNFREEZING = ("stage.1.epochs=2", "stage.1.unfreeze=last:50%", "batch_size=4")


@pytest.mark.integration
@pytest.mark.parametrize("augmented", [True, False])
def test_batch_norm_statistics_are_not_changed(augmented: bool, weights: Path, colours: Path, tmp_path: Path) -> None:
    off = () if augmented else ("augmentation={}",)
    before = moving_statistics(build(backbones.find(TINY), weights=str(weights), size=TINY_SIZE))
    words = (*UNFREEZING, *off, f"backbone.weights={weights}", "split.val=0.0")
    result = run_on(colours, tmp_path / "run", *words)
    assert FinetuneRecipe.load(str(result.run.recipe)).augmentation.is_off == (not augmented)
    after = network_of(tmp_path / "run")
    assert equal_bits(before, moving_statistics(after))
    # The scales of the unfrozen layers were trained.
    assert not np.array_equal(after.get_layer("conv_pw_13_bn").gamma, np.ones(256))
    assert np.array_equal(after.get_layer("conv_pw_1_bn").gamma, np.ones(16))


@pytest.mark.integration
def test_batch_norm_in_training_mode_is_detected(
    weights: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: Any, inputs: Any, training: bool = False) -> Any:
        return self._frozen_split.upper(inputs, training=True)

    monkeypatch.setattr(training_step.TrainingStep, "forward", forward)
    before = moving_statistics(build(backbones.find(TINY), weights=str(weights), size=TINY_SIZE))
    run_on(colours, tmp_path / "run", *UNFREEZING, f"backbone.weights={weights}", "split.val=0.0")
    assert not equal_bits(before, moving_statistics(network_of(tmp_path / "run")))


def test_finetune_complete_run_with_another_recipe_raises(
    finetuned: Path, colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finetuned, tmp_path / "run"))
    assert run_on(colours, run, *AS_MADE, source=str(two_stages)).was_complete
    with pytest.raises(RunError, match=r"--set stage\.2\.epochs is 2 there and 3 here"):
        run_on(colours, run, *AS_MADE, "stage.2.epochs=3", source=str(two_stages))


def test_finetune_complete_run_with_another_split_raises(
    colours: Path, two_stages: Path, finetuned: Path, tmp_path: Path
) -> None:
    split = Split.read(finetuned / "split.csv")
    swapped = tuple(replace(row, part={"train": "test", "test": "train"}.get(row.part, row.part)) for row in split.rows)
    with pytest.raises(RunError, match="in the split of this command"):
        run_on(colours, finetuned, *AS_MADE, source=str(two_stages), split=replace(split, rows=swapped))
    assert run_on(colours, finetuned, *AS_MADE, source=str(two_stages), split=split).was_complete


@pytest.mark.integration
def test_finetune_replaces_a_run_without_results(colours: Path, tmp_path: Path) -> None:
    run = run_on(colours, tmp_path / "run", "stage.1.epochs=1").run
    for name in ("metrics.json", "checkpoints", "model", "features.parquet"):
        remove(run.path / name)
    before = run.split.read_bytes()
    result = run_on(colours, tmp_path / "run", "stage.1.epochs=1", "split.test=0.5", "split.seed=7")
    assert run.split.read_bytes() != before
    assert result.metrics["test"]["images"]["value"] > 14


def test_finetune_that_cannot_start_writes_nothing(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign.weights.h5").write_bytes(b"no weights")
    for words in (["stage.1.unfreeze=from:conv_pw_99"], [f"backbone.weights={tmp_path}/foreign.weights.h5"]):
        with pytest.raises((UnknownNameError, WeightsError)):
            run_on(colours, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_stage_without_trainable_layers_raises(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unfreeze = 'last:1' contains no layer with weights"):
        run_on(colours, tmp_path / "run", "stage.1.unfreeze=last:1")


@pytest.mark.integration
def test_early_stopping_message_names_the_patience(colours: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    run_on(
        colours,
        tmp_path / "run",
        *("stage.1.unfreeze=head", "stage.1.learning_rate=0.5", "stage.1.epochs=9", "stage.1.schedule=constant"),
        *("early_stopping.keep=best", "early_stopping.patience=3", "stage.1.warmup=0"),
        progress=Listener(messages),
    )
    rows = rows_of(tmp_path / "run/history.csv")
    why = next(line for line in messages if line.startswith("early stopping after"))
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert int(rows[-1]["epoch"]) == int(best["epoch"]) + 3 < 9
    assert why == (
        f"early stopping after {rows[-1]['epoch']} of 9 epochs: val accuracy has not improved on "
        f"{float(best['val_accuracy']):.3f} (epoch {best['epoch']}) for 3 epochs. "
        "To train longer: --overwrite --set early_stopping.patience=6 (0: all epochs)"
    )


class Listener:
    """A progress that records all messages."""

    def __init__(self, messages: list[str]) -> None:
        self.note = self.warn = messages.append

    def track(self, description: str, total: int | None) -> Any:
        from transfer_cli.progress import SILENT

        return SILENT.track(description, total)


def test_early_stopping_with_cosine_counts_in_the_last_third() -> None:
    from transfer_cli.recipe.stages import EarlyStopping, Stage
    from transfer_cli.runs.history import Epoch
    from transfer_cli.training.loop import early_stopping
    from transfer_cli.training.loop.checkpoints import State

    stage = Stage(unfreeze="head", epochs=12, learning_rate=0.1, schedule="cosine")
    history = tuple(Epoch(epoch, 1, 0.1, 1, 1, 1, 1, 1, 1) for epoch in range(13))
    for done in range(1, 13):
        state = State("", done=done, best=0, history=history)
        assert bool(early_stopping.stop_reason(state, stage, EarlyStopping(patience=3))) == (done >= 11)
        flat = stage.model_copy(update={"schedule": "constant"})
        assert bool(early_stopping.stop_reason(state, flat, EarlyStopping(patience=3))) == (done >= 3)
        assert not early_stopping.stop_reason(state, flat, EarlyStopping(patience=0))


@pytest.mark.integration
@pytest.mark.parametrize("count", [5, 20])
def test_finetune_few_images_warns_and_completes(count: int, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for name, colour in (("dark", (40, 40, 40)), ("light", (210, 210, 210))):
        for number in range(count):
            save_image(tmp_path / "few" / name / f"{number}.png", colour, random)
    messages: list[str] = []
    words = ("stage.1.epochs=2", "early_stopping.keep=best")
    result = run_on(tmp_path / "few", tmp_path / "run", *words, progress=Listener(messages))
    parts = Split.read(result.run.split).counts()
    assert parts.keys() == {"train", "val", "test"}
    assert [line for line in messages if line.startswith("few images: ")]
    assert result.metrics["test"]["accuracy"]["value"] >= 0.5
    # A last batch with a single image is no problem.
    run_on(tmp_path / "few", tmp_path / "other", "stage.1.epochs=1", f"batch_size={parts['train'] - 1}")


@pytest.mark.integration
def test_finetune_without_validation_set_keeps_the_last_epoch(colours: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    result = run_on(colours, tmp_path / "run", "split.val=0.0", "stage.1.epochs=2", progress=Listener(messages))
    assert list(result.metrics) == ["test"]
    assert "no validation set: all epochs are run, and the last one is kept" in messages
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["last.npz"]
    last = np.load(tmp_path / "run/checkpoints/last.npz")
    written = list(weights_of(tmp_path / "run").values())
    values: list[Any] = []
    for name in last.files:
        if name.startswith("weights/"):
            values.append(last[name])
    assert values
    for array in values:
        assert any(array.shape == other.shape and np.array_equal(array, other) for other in written)


@pytest.mark.integration
def test_diverging_training_raises(colours: Path, tmp_path: Path) -> None:
    words = ("stage.1.optimizer=sgd", "stage.1.learning_rate=10", "stage.1.unfreeze=head", "head.l2=1", UNCLIPPED)
    with pytest.raises(RecipeError, match="Training diverged in epoch") as caught:
        run_on(colours, tmp_path / "run", *words, "stage.1.warmup=0", "batch_size=4")
    assert "--set stage.1.learning_rate=1 --overwrite" in str(caught.value.hint)


def test_unfreeze_unknown_layer_suggests_a_name(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"layer to unfreeze from called 'conv_pw_99'\. Did you mean conv_pw_9"):
        run_on(colours, tmp_path / "run", "stage.1.unfreeze=from:conv_pw_99")
    run_on(colours, tmp_path / "run", "stage.1.unfreeze=from:conv_pw_13", "stage.1.epochs=1")


@pytest.mark.integration
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_optimizers_and_heads_decrease_the_loss(optimizer: str, colours: Path, tmp_path: Path) -> None:
    words = (
        f"stage.1.optimizer={optimizer}",
        "stage.1.unfreeze=head",
        "stage.1.epochs=3",
        "stage.1.learning_rate=0.01",
        UNCLIPPED,
    )
    head = ("head.kind=mlp", "head.units=16", "head.dropout=0.3", "head.l2=0.001")
    run_on(colours, tmp_path / "run", *words, *head, "early_stopping.patience=0")
    network = network_of(tmp_path / "run")
    assert network.get_layer("head_hidden").units == 16
    assert network.get_layer("head_hidden").kernel_regularizer.l2 == pytest.approx(0.001)
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "run/history.csv")]
    assert losses[-1] < losses[0]


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in recipe_names()],
)
def test_builtin_recipe_runs(name: str, colours: Path, tmp_path: Path) -> None:
    stage_trainer = getattr(Recipe.load(name), "stage", ())
    # A recipe that names a layer needs a network that has it.
    tiny = "mobilenet_v2@0.35" if any(stage.unfreeze.startswith("from:") for stage in stage_trainer) else TINY
    words = {**WORDS, "backbone.name": tiny, "batch_size": 64}
    if getattr(Recipe.load(name), "network", None) is not None:
        words = {"batch_size": 64}  # the recipe describes its own
    words |= {f"stage.{number}.epochs": 1 for number in range(1, len(stage_trainer) + 1)}
    recipe = Recipe.load(name, [], words)
    train: Any = {"extract": extract, "finetune": finetune}[recipe.method]
    result = train(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run")), recipe)
    assert 0 <= result.metrics["test"]["accuracy"]["value"] <= 1
    (batch,) = predict(load(str(tmp_path / "run")), sorted(map(str, (colours / "red").iterdir())))
    assert batch.probabilities.shape == (12, 3)
    np.testing.assert_allclose(batch.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_views_that_do_not_fit_on_disk_are_computed_in_every_epoch(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("no space is left")

    monkeypatch.setattr(frozen_activations, "compute_views", full)
    messages: list[str] = []
    words = ["stage.1.epochs=8", "stage.1.unfreeze=head", "early_stopping.patience=0"]
    run_on(colours, tmp_path / "auto", *words, progress=Listener(messages))
    assert any("run in every epoch" in line and "no space is left" in line for line in messages)
    run_on(colours, tmp_path / "fresh", *words, "trunk.views=fresh")
    one, other = weights_of(tmp_path / "auto"), weights_of(tmp_path / "fresh")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(OutputError):
        run_on(colours, tmp_path / "asked", *words, "trunk.views=4")
