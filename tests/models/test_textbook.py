"""The networks of the textbooks: their shapes, what they see, and that they are trained from scratch as any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from tests.finetuning import network_of, rows_of, run_on, weights_of
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest, load, predict
from transfer_cli.catalog.backbones import find
from transfer_cli.cli.main import main
from transfer_cli.errors import WeightsError
from transfer_cli.models import backbone, freezing
from transfer_cli.models.backbone import build_bare
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.models.layer_summary import layer_table
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.recipe.sections import Head
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.loop import training_step

pytestmark = pytest.mark.integration

SHAPES = {
    "lenet5": {"conv1": (28, 28, 6), "pool1": (14, 14, 6), "conv2": (10, 10, 16), "pool2": (5, 5, 16), "dense2": (84,)},
    "alexnet": {"conv1": (55, 55, 96), "pool2": (13, 13, 256), "conv4": (13, 13, 384), "pool5": (6, 6, 256)},
    "small_cnn": {"block1_conv2": (30, 30, 32), "block2_pool": (6, 6, 64), "flatten": (2304,), "dense": (512,)},
}
RECIPES = {"lenet5": "lenet5", "alexnet": "alexnet", "small_cnn": "small-cnn"}
QUICK = ("stage.1.epochs=2", "inference.runtime=keras", "early_stopping.patience=0", "refit.when=never")


def noise(size: int, count: int = 4) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("name", SHAPES)
def test_textbook_shapes_and_cut_below_the_head(name: str) -> None:
    spec = find(name)
    table = {row.name: row for row in layer_table(build_bare(spec))}
    assert {layer: table[layer].output_shape for layer in SHAPES[name]} == SHAPES[name]
    assert table["predictions"].output_shape == (spec.classes,)
    # The count that the books give, with their own number of classes.
    books = {"lenet5": (61_706, 10), "alexnet": (62_378_344, 1000), "small_cnn": (1_250_858, 10)}
    assert (sum(row.parameters for row in table.values()), spec.classes) == books[name]
    assert sum(row.multiply_adds for row in table.values()) == spec.multiply_adds


def test_textbook_input_scaling() -> None:
    """The scaled picture is the input of the first convolution; red, green and blue weigh as in BT.601."""
    images = noise(32, 2)
    weighed = images @ np.array([0.299, 0.587, 0.114])
    expected = {"lenet5": weighed[..., None] / 127.5 - 1, "small_cnn": images / 255}
    for name, scaled in expected.items():
        network = backbone.build(find(name), weights="none")
        assert network.layers[1].name.endswith("conv1")
        first = keras.Model(network.inputs[0], network.layers[1].input)
        np.testing.assert_allclose(first(images), scaled, atol=2e-3)
        # The twin: blue taken for red is another picture.
        assert np.abs(np.asarray(first(images[..., ::-1])) - scaled).max() > 0.1


@pytest.mark.parametrize("name", ["lenet5", "small_cnn"])
def test_textbook_recipe_trains_saves_and_predicts(name: str, colours: Path, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = FinetuneRecipe.load(RECIPES[name], ["stage.1.epochs=2"])
    result = finetune(
        TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), progress=Heard(said)), recipe
    )
    assert (recipe.backbone.name, recipe.backbone.weights, recipe.resolved().images.size) == (name, "none", 32)
    # Nothing was wrong with the converted graph, and nobody is warned of what is meant.
    assert not [line for line in said if "random weights" in line or "falling back to Keras" in line]
    assert (result.run.model / "graph.tflite").is_file()
    before = backbone.build(find(name), weights="none", seed=recipe.seed)
    after = network_of(tmp_path / "run")
    for layer in before.layers:
        if layer.weights:
            assert not np.array_equal(layer.kernel, after.get_layer(layer.name).kernel), layer.name
    expected = rows_of(tmp_path / "run/predictions_test.csv")
    (batch,) = predict(load(str(tmp_path / "run")), [str(colours / row["path"]) for row in expected])
    written = [[float(row[f"p_{label}"]) for label in ("blue", "green", "red")] for row in expected]
    np.testing.assert_allclose(batch.probabilities, written, atol=2e-5)


class Heard:
    """Keeps what is said."""

    def __init__(self, said: list[str]) -> None:
        self.note = self.warn = said.append

    def track(self, description: str, total: int | None) -> Any:
        from transfer_cli.progress import SILENT

        return SILENT.track(description, total)


@pytest.mark.slow
def test_alexnet_trains_one_epoch(colours: Path, tmp_path: Path) -> None:
    words = {"stage.1.epochs": 1, "images.size": find("alexnet").min_size, "inference.runtime": "keras"}
    recipe = Recipe.load("alexnet", [], words)
    result = finetune(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run")), recipe)
    assert 0 <= result.metrics["test"]["accuracy"]["value"] <= 1
    assert network_of(tmp_path / "run").get_layer("drop7").output.shape == (None, 4096)


def test_extract_random_weights_warns(colours: Path, tmp_path: Path) -> None:
    said: list[str] = []
    words = {"backbone.name": "lenet5", "backbone.weights": "none"}
    recipe = ExtractRecipe.load(None, [], words)
    result = extract(
        TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), progress=Heard(said)), recipe
    )
    assert [line for line in said if line.startswith("the backbone has random weights")]
    assert (result.run.model / "graph.tflite").is_file()
    (batch,) = predict(load(str(tmp_path / "run")), sorted(map(str, (colours / "red").iterdir())))
    assert batch.probabilities.shape == (12, 3)


def test_commands_without_imagenet_weights_explain_what_to_do(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["finetune", colours], ["extract", colours], ["predict", "imagenet:small-cnn"]):
        tail = [tmp_path / "x.jpg"] if words[0] == "predict" else ["--backbone", "small-cnn"]
        done = CliRunner().invoke(main, [str(word) for word in (*words, *tail)])
        assert (done.exit_code, done.stdout) == (4, "")
        assert "small_cnn has no ImageNet weights: it has to be trained from scratch." in done.stderr
        assert "--recipe small-cnn" in done.stderr
        assert "--weights none" in done.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WeightsError):
        backbone.build(find("lenet5"))


def test_backbones_list_and_show_textbook_network() -> None:
    lines = CliRunner().invoke(main, ["backbones", "list"]).stdout.splitlines()
    line = next(line.split() for line in lines if line.startswith("lenet5 "))
    assert line == ["lenet5", "32", "61.7", "k", "0", "417", "k", "-", "from", "scratch"]
    shown = CliRunner().invoke(main, ["backbones", "show", "lenet5"])
    assert "61,706 parameters, 0 MB" in shown.stderr
    assert "lenet5: size 32, features 84, preprocessing grey, licence -" in shown.stderr


def test_split_at_network_with_dropout() -> None:
    network = backbone.build(find("small_cnn"), weights="none")
    layers = [layer.name for layer in freezing.backbone_layers(network)]
    assert (len(layers), layers[0], layers[-1]) == (11, "block1_conv1", "dropout")
    frozen_split = freezing.split_at(network, "last:2")
    assert [layer.name for layer in frozen_split.layers] == ["dense", "dropout"]
    assert frozen_split.frozen is not None
    assert frozen_split.frozen.layers[-1].name == "flatten"
    assert frozen_split.upper is not None
    assert freezing.split_at(network, "all").frozen is None


LOSSES = ("stage.1.optimizer=sgd", "stage.1.learning_rate=1e-12", "stage.1.momentum=0")
LOSSES += ("augmentation={}", "batch_size=64")


def loss_of(colours: Path, run: Path, *words: str) -> float:
    """Return the loss of two steps that change nothing, to six digits."""
    words = ("backbone.name=small_cnn", "head.start=random", *LOSSES, *QUICK, *words)
    run_on(colours, run, *words, source="small-cnn")
    return float(rows_of(run / "history.csv")[-1]["loss"])


def test_dropout_is_active_in_training_only(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = loss_of(colours, tmp_path / "all")
    network, images = network_of(tmp_path / "all"), noise(32)
    assert np.array_equal(network(images), network(images))
    assert not np.array_equal(network(images, training=True), network(images, training=True))
    dense = loss_of(colours, tmp_path / "upper", "stage.1.unfreeze=from:dense")
    head = loss_of(colours, tmp_path / "head", "stage.1.unfreeze=head")
    assert len({training, dense, head}) == 3
    # The twin: a backbone that answers as in inference has the loss of a frozen one, whose dropout is still.
    forward = training_step.TrainingStep.forward
    monkeypatch.setattr(
        training_step.TrainingStep, "forward", lambda self, inputs, training=False: forward(self, inputs)
    )
    assert loss_of(colours, tmp_path / "still") == pytest.approx(head, abs=1e-5)


def masks(layer: Any) -> NDArray[np.bool_]:
    return np.asarray(layer(np.ones((4, 512), np.float32), training=True)) > 0


def test_dropout_masks_follow_the_seed_and_differ_per_layer() -> None:
    network = ClassifierNetwork(backbone.build(find("small_cnn"), weights="none"), Head(dropout=0.5), 3, 0)
    layers = [network.features.get_layer("dropout"), network.head.get_layer("head_dropout")]
    drawn = {}
    for seed in ((1, 2), (1, 3), (2**32 - 1, 0)):
        network.set_dropout(seed)
        drawn[seed] = [masks(layer) for layer in layers]
        network.set_dropout(seed)
        assert all(np.array_equal(masks(layer), before) for layer, before in zip(layers, drawn[seed], strict=True))
        assert not np.array_equal(*drawn[seed])
    assert not np.array_equal(drawn[1, 2], drawn[1, 3])


def train_in_two(colours: Path, run: Path, monkeypatch: pytest.MonkeyPatch, lose: Callable[[], None]) -> None:
    stopped = stop_before_each_epoch(monkeypatch)
    stopped.append(1)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, run, *SMALL, source="small-cnn")
    lose()
    run_on(colours, run, *SMALL, source="small-cnn")


SMALL = ("backbone.name=small_cnn", "batch_size=8", *QUICK)


def test_finetune_from_scratch_resumes_to_the_same_weights(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_on(colours, tmp_path / "straight", *SMALL, source="small-cnn").run
    train_in_two(colours, tmp_path / "run", monkeypatch, lambda: None)
    assert same_end(straight.path, tmp_path / "run")
    one, other = weights_of(straight.path), weights_of(tmp_path / "run")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    # The twin: only the head's dropout is drawn by the epoch.
    monkeypatch.undo()
    head = ClassifierNetwork.set_dropout

    def of_the_head_alone(self: ClassifierNetwork, seed: tuple[int, int]) -> None:
        features, self.features = self.features, self.head
        head(self, seed)
        self.features = features

    train_in_two(
        colours,
        tmp_path / "lost",
        monkeypatch,
        lambda: monkeypatch.setattr(ClassifierNetwork, "set_dropout", of_the_head_alone),
    )
    assert not same_end(straight.path, tmp_path / "lost")
