"""Settings of a recipe: each is followed, and changes the trained network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import COLOURS, save_image
from tests.finetuning import WORDS, rows_of, run_on, weights_of
from transfer_cli import ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.catalog.backbones import find
from transfer_cli.data.split import Split
from transfer_cli.models import freezing
from transfer_cli.models.backbone import build
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.recipe.stages import Stage
from transfer_cli.runs.history import Epoch
from transfer_cli.training.extract import extract
from transfer_cli.training.loop import early_stopping
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.fine_tuning import refits

pytestmark = pytest.mark.integration

PLAIN = (
    *("stage.1.epochs=2", "stage.1.unfreeze=last:6", "batch_size=4", "split.val=0", "trunk.views=2"),
    *("early_stopping.keep=best", "final.classifier=head", "final.probe=0"),
)
METHODS = {
    "one-cycle": ["stage.1.schedule=one-cycle"],
    "inverse time": ["stage.1.schedule=inverse-time", "stage.1.inverse_time_decay=0.5"],
    "weight decay": ["stage.1.weight_decay=0.1"],
    "layer decay": ["stage.1.layer_decay=0.5"],
    "gradient clipping": ["stage.1.gradient_clip=0.01"],
    "moving average": ["stage.1.ema=0.9"],
    "label smoothing": ["stage.1.label_smoothing=0.1"],
    "class weights": ["balance.method=class-weights"],
    "effective number": ["balance.method=effective-number", "balance.beta=0.9"],
    "logit adjustment": ["balance.method=logit-adjustment"],
    "focal loss": ["balance.method=focal"],
    "oversampling": ["balance.method=oversampling"],
    "RandAugment": ["augmentation.randaugment=0.3"],
    "random erasing": ["augmentation.random_erasing=0.5"],
    "random resized crop": ["augmentation.random_resized_crop=[0.3, 1]", "augmentation.hue=0.1"],
    "colour shift": ["augmentation.pca_colour=0.1"],
    "mixup": ["augmentation.mixup=0.2"],
    "cutmix": ["augmentation.cutmix=1.0"],
    "mixed_bfloat16": ["hardware.precision=mixed_bfloat16"],
    "mixed_float16": ["hardware.precision=mixed_float16"],
    "accumulated gradients": ["hardware.accumulate=2"],
}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three classes of 14, 7 and 4 images."""
    root = tmp_path_factory.mktemp("data") / "uneven"
    random = np.random.default_rng(5)
    for (name, colour), count in zip(COLOURS.items(), (14, 7, 4), strict=True):
        for number in range(count):
            save_image(root / name / f"{number:02}.png", colour, random)
    return root


@pytest.fixture(scope="module")
def plain(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("plain") / "run"
    run_on(uneven, run, *PLAIN)
    return weights_of(run)


@pytest.mark.parametrize("overrides", METHODS.values(), ids=METHODS)
def test_setting_changes_the_trained_weights(
    overrides: list[str], uneven: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    result = run_on(uneven, tmp_path / "run", *PLAIN, *overrides)
    weights = weights_of(tmp_path / "run")
    assert weights.keys() == plain.keys()
    assert all(np.isfinite(array).all() for array in weights.values())
    assert not all(np.array_equal(weights[name], plain[name]) for name in plain)
    assert result.metrics["test"]["accuracy"]["value"] >= 0.5


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [1.0, 1.0, 1.0]),
        ({"schedule": "cosine"}, [1.0, 0.5, 0.0]),
        ({"schedule": "cosine", "warmup": 0.5}, [0.0, 1.0, 0.0]),
        ({"warmup": 0.5}, [0.0, 1.0, 1.0]),
        ({"schedule": "one-cycle", "warmup": 0.5}, [0.04, 1.0, 0.0]),
        ({"schedule": "plateau"}, [1.0, 1.0, 1.0]),
        ({"schedule": "inverse-time", "inverse_time_decay": 0.1}, [1.0, 1 / 1.5, 0.5]),
        ({"schedule": "inverse-time", "inverse_time_decay": 0.1, "warmup": 0.5}, [0.0, 1.0, 1 / 1.5]),
    ],
    ids=str,
)
def test_schedule_gives_these_rates(settings: dict[str, Any], rates: list[float]) -> None:
    stage = Stage(unfreeze="head", epochs=10, learning_rate=1.0, **settings)
    assert [stage.learning_rate_at(done) for done in (0, 5, 10)] == pytest.approx(rates)


def test_one_cycle_warms_up_for_30_percent() -> None:
    stage = Stage(unfreeze="head", epochs=10, learning_rate=1.0, schedule="one-cycle")
    rates = [stage.learning_rate_at(done / 10) for done in range(101)]
    assert rates.index(max(rates)) == 30
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_plateau_lowers_the_learning_rate_also_in_the_refit() -> None:
    stage = Stage(unfreeze="head", epochs=9, learning_rate=1.0, schedule="plateau", plateau_patience=2)
    losses = [5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 3.1, 3.1]
    state, counts = State(split_digest=""), []
    for number, loss in enumerate(losses, start=1):
        row = Epoch(number, 1, 1.0, 1.0, 0.5, loss, 0.5, 0.5, 0.0)
        state = replace(state, done=number, history=(*state.history, row))
        counts.append(early_stopping.reductions(state, stage))
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2]
    assert stage.learning_rate_at(8, counts[-1]) == pytest.approx(0.09)
    refit = state.begin_refit()
    assert [early_stopping.reductions(replace(refit, done=done), stage) for done in range(9)] == [0, *counts]


@pytest.mark.parametrize(
    ("images", "epochs"), [(100_000, 20), (868, 20), (480, 20), (448, 22), (200, 43), (85, 100), (1, 100)]
)
def test_auto_epochs_depend_on_the_number_of_images(images: int, epochs: int) -> None:
    stage = Stage(unfreeze="head", epochs="auto", learning_rate=1.0).for_images(images, batch_size=32)
    assert (stage.epochs, stage.length) == (epochs, epochs)


def test_fixed_epochs_are_kept() -> None:
    stage = Stage(unfreeze="head", epochs=3, learning_rate=1.0)
    assert stage.for_images(5, batch_size=32) is stage


def test_finetune_runs_the_auto_epochs(uneven: Path, tmp_path: Path) -> None:
    overrides = [*PLAIN, "stage.1.unfreeze=head", "stage.1.epochs=auto", "batch_size=1"]
    result = run_on(uneven, tmp_path / "run", *overrides)
    assert [row["epoch"] for row in rows_of(result.run.history)] == [str(epoch) for epoch in range(21)]


def test_layer_depths_count_kernels_from_the_top() -> None:
    layers = freezing.backbone_layers(build(find("mobilenet@0.25"), weights="none", size=32))
    depths = dict(zip((layer.name for layer in layers), freezing.depths(layers), strict=True))
    assert [depths[name] for name in ("conv_pw_13", "conv_pw_13_bn", "conv_pw_13_relu")] == [1, 1, 1]
    assert [depths[name] for name in ("conv_dw_13", "conv_dw_13_bn", "conv_pw_12", "conv1")] == [2, 2, 3, 27]


def test_layer_decay_reduces_the_step_of_lower_layers(uneven: Path, tmp_path: Path) -> None:
    """With one step of plain SGD each layer moves by its own rate; the seed fixes the initial weights."""
    overrides = (*PLAIN, "stage.1.optimizer=sgd", "stage.1.momentum=0", "stage.1.epochs=1", "batch_size=64")
    overrides += ("stage.1.unfreeze=from:conv_dw_13", "stage.1.warmup=0", "stage.1.learning_rate=0.1")
    ends = {}
    for name, more in {
        "still": ["stage.1.learning_rate=1e-12"],
        "even": [],
        "decayed": ["stage.1.layer_decay=0.5"],
    }.items():
        run_on(uneven, tmp_path / name, *overrides, *more)
        ends[name] = weights_of(tmp_path / name)
    for layer, rate in {"conv_pw_13": 0.5, "conv_dw_13": 0.25}.items():
        name = next(name for name in ends["even"] if name.startswith(f"{layer}/"))
        moved, less = ends["even"][name] - ends["still"][name], ends["decayed"][name] - ends["still"][name]
        assert np.abs(moved).max() > 1e-6
        np.testing.assert_allclose(less, rate * moved, atol=2e-2 * np.abs(moved).max())


def test_ema_weights_are_scored_and_kept(uneven: Path, tmp_path: Path) -> None:
    run = run_on(uneven, tmp_path / "run", *PLAIN, "split.val=0.2", "stage.1.ema=0.9", "refit.when=never").run
    rows = rows_of(run.history)
    metrics = json.loads(run.metrics.read_text())
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert metrics["val"]["log_loss"]["value"] == pytest.approx(float(best["val_loss"]), abs=1e-4)
    if best["epoch"] == rows[-1]["epoch"]:
        last, best_weights = (
            np.load(run.checkpoints / "last.npz"),
            np.load(run.checkpoints / f"best-{int(best['epoch']):04}.npz"),
        )
        names = [name for name in best_weights.files if name.startswith("weights/")]
        assert not all(np.array_equal(last[name], best_weights[name]) for name in names)


def test_refit_trains_on_val_for_the_best_number_of_epochs(uneven: Path, tmp_path: Path) -> None:
    overrides = [*PLAIN, "split.val=0.2", "early_stopping.patience=0", "stage.1.learning_rate=1e-2"]
    run = run_on(uneven, tmp_path / "run", *overrides, "refit.when=always").run
    alone = run_on(uneven, tmp_path / "alone", *overrides, "refit.when=never").run
    rows, before = rows_of(run.history), rows_of(alone.history)
    columns = ("epoch", "val_accuracy", "val_loss", "loss")
    assert [[row[column] for column in columns] for row in rows[:3]] == [
        [row[column] for column in columns] for row in before
    ]
    best = max(before, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    trained = 2 if best["epoch"] != "0" else 0
    assert [(row["refit"], row["val_accuracy"]) for row in rows[3:]] == [("yes", "")] * trained
    # Predictions on val are those of the network before the refit.
    assert run.predictions("val").read_bytes() == alone.predictions("val").read_bytes()
    one, other = weights_of(run.path), weights_of(alone.path)
    assert not all(np.array_equal(one[name], other[name]) for name in one)


def test_refit_without_gain_equals_extract(
    uneven: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If training does not improve on the probe, the result is the classifier that extract fits on the same images."""
    monkeypatch.setattr(early_stopping, "key", lambda epoch, early: (-float(epoch.epoch), 0.0))
    pretrained = f"backbone.weights={weights}"
    run = run_on(uneven, tmp_path / "run", *PLAIN, "split.val=0.2", "refit.when=always", pretrained).run
    split = Split.read(run.split)
    rows = [replace(row, part="test" if row.part == "test" else "train") for row in split.rows]
    both = replace(split, rows=tuple(rows))
    probe = [pretrained, "inference.runtime=keras", "classifier.name=logistic", "backbone.pooling=avg"]
    recipe = ExtractRecipe.load(None, probe, {**WORDS, "backbone.weights": None})
    extracted = RunDirectory(tmp_path / "extract")
    extract(TrainingRequest(ImageFolder.scan(uneven), extracted, split=both), recipe)
    one, other = rows_of(run.predictions("test")), rows_of(extracted.predictions("test"))
    assert [row["path"] for row in one] == [row["path"] for row in other]
    for name in COLOURS:
        np.testing.assert_allclose(*([float(row[f"p_{name}"]) for row in rows] for rows in (one, other)), atol=2e-3)


@pytest.mark.slow
def test_resumed_refit_ends_with_the_same_weights(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.test_resume import same_end, stop_before_each_epoch

    monkeypatch.setattr(early_stopping, "key", lambda epoch, early: (float(epoch.epoch), 0.0))
    overrides = [*PLAIN, "split.val=0.2", "refit.when=always", "early_stopping.patience=0"]
    straight = run_on(uneven, tmp_path / "straight", *overrides).run
    stopped = stop_before_each_epoch(monkeypatch)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run_on(uneven, tmp_path / "run", *overrides)
    run = run_on(uneven, tmp_path / "run", *overrides).run
    assert stopped == [1, 2, 3, 4]
    assert same_end(straight.path, run.path)
    for part in ("val", "test"):
        assert run.predictions(part).read_bytes() == straight.predictions(part).read_bytes()


def test_refit_depends_on_the_recipe_and_the_images(uneven: Path, tmp_path: Path) -> None:
    from transfer_cli.recipe.recipes import FinetuneRecipe

    run = run_on(uneven, tmp_path / "run", *PLAIN, "split.val=0.2", "stage.1.unfreeze=head", "stage.1.epochs=1").run
    split = Split.read(run.split)
    per_class = split.counts()["train"] / 3

    def refits_with(**settings: Any) -> bool:
        overrides = {f"refit.{name}": value for name, value in settings.items()}
        return refits(FinetuneRecipe.load(None, [], overrides), split)

    assert refits_with()
    assert refits_with(below=int(per_class) + 1)
    assert not refits_with(below=int(per_class))
    assert refits_with(when="always", below=1)
    assert not refits_with(when="never")


def test_diverged_epoch_is_repeated_at_half_the_rate(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transfer_cli.training.loop import stage_trainer

    train, tries = stage_trainer.StageTrainer.epoch, []

    def explodes_once(self: Any, epoch: int, state: State, advance: Any) -> Any:
        tries.append((epoch, self.learning_rate(state, 0.5)))
        loss, accuracy = train(self, epoch, state, advance)
        return (float("nan") if len(tries) == 2 else loss), accuracy

    monkeypatch.setattr(stage_trainer.StageTrainer, "epoch", explodes_once)
    run_on(uneven, tmp_path / "run", *PLAIN, "stage.1.schedule=constant", "stage.1.warmup=0")
    (first, rate), (second, same), (again, half) = tries
    assert (first, second, again) == (1, 2, 2)
    assert rate == same == pytest.approx(2 * half)
    assert [row["epoch"] for row in rows_of(tmp_path / "run/history.csv")] == ["0", "1", "2"]
