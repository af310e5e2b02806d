"""Trainings of a network that a recipe describes: the run, its model, a resume, a continuation, its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.finetuning import network_of, rows_of, weights_of
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest, load, predict
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.cli.main import main
from transfer_cli.data.decoding import decode
from transfer_cli.errors import ModelError
from transfer_cli.inference.network_sources import backbone_source
from transfer_cli.manage.changed_settings import settings_of_run
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.finetune import finetune
from transfer_cli.training.setup.resolve import resolve_recipe

pytestmark = pytest.mark.integration

RECIPE = """method = "finetune"
[images]
size = 28
[network]
dense = [8]
dropout = 0.1
[[network.block]]
filters = 4
pool = "avg"
batch_norm = true
[[network.block]]
filters = 4
convolutions = 2
residual = true
activation = "elu"
dropout = 0.1
[[stage]]
unfreeze = "all"
epochs = 2
learning_rate = 1e-2
[early_stopping]
patience = 0
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    path.write_text(RECIPE)
    return str(path)


def trained(folder: Path, run: Path, source: str, *overrides: str) -> TrainingResult:
    recipe = FinetuneRecipe.load(source, ["split.val=0.2", *overrides])
    return finetune(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run)), recipe)


@pytest.fixture(scope="module")
def described(colours: Path, source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(colours, tmp_path_factory.mktemp("runs") / "run", source).run.path


def test_the_model_predicts_as_keras_does(described: Path, colours: Path) -> None:
    files = sorted(colours.rglob("*.png"))[::3]
    (batch,) = predict(load(described), list(map(str, files)))
    images = np.stack([decode(file.read_bytes(), 28, "squash") for file in files])
    expected = np.asarray(network_of(described)(images))
    assert np.abs(batch.probabilities - expected).max() < 1e-5
    assert (described / "model/graph.tflite").is_file()
    # Not constant: other images have other probabilities.
    assert np.ptp(expected, axis=0).max() > 0.01


def test_the_run_tells_what_the_network_is(described: Path) -> None:
    card = (described / "model/MODEL_CARD.md").read_text()
    assert "`finetune`: a network that its recipe describes (section `[network]`), trained on" in card
    settings = {each.key: each.value for each in settings_of_run(RunDirectory(described))}
    assert settings["network.block"] == "2 blocks"
    assert (settings["network.dense"], settings["network.dropout"]) == ("8", "0.1")
    assert "backbone.name" not in settings
    bundle = ModelBundle.open(described).bundle
    assert (bundle.image_size, bundle.backbone["name"], bundle.recipe["network"]["dense"]) == (28, "network", [8])


def test_it_is_exported_explained_and_reported(described: Path, colours: Path, tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*words: str) -> str:
        done = runner.invoke(main, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    exported = json.loads(
        run("--json", "export", str(described), "--format", "litert,onnx", "-o", str(tmp_path / "exported"))
    )
    assert all(row["max_abs_diff"] < 1e-5 for row in exported["formats"])
    run("explain", str(described), str(colours / "red/red 00.png"), "-o", str(tmp_path / "maps"))
    run("report", str(described))
    assert "block2_shortcut" not in run("inspect", str(described))
    assert "block2_add1" in run("inspect", str(described))


def test_interrupted_run_ends_with_the_same_weights(
    described: Path, colours: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = stop_before_each_epoch(monkeypatch)
    stopped.append(1)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(colours, run, source)
    while not (run / "metrics.json").exists():
        try:
            trained(colours, run, source)
        except KeyboardInterrupt:
            continue
    assert same_end(described, run)
    one, other = weights_of(described), weights_of(run)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len(rows_of(run / "history.csv")) == len(rows_of(described / "history.csv"))


def test_training_goes_on_from_a_run_of_the_same_network_only(
    described: Path, colours: Path, source: str, tmp_path: Path
) -> None:
    words = [f"backbone.weights={described}", "stage.1.epochs=1", "stage.1.learning_rate=1e-9", "refit.when=never"]
    run = trained(colours, tmp_path / "run", source, *words).run.path
    before, after = weights_of(described), weights_of(run)
    assert np.abs(before["block1/kernel"] - after["block1/kernel"]).max() < 1e-6
    for change in ("network.activation=tanh", "network.dense=[9]"):
        with pytest.raises(ModelError, match="its recipe describes another network than that of this command"):
            trained(colours, tmp_path / "other", source, *words, change)
    assert not (tmp_path / "other").exists()


def test_cached_features_belong_to_one_network(colours: Path, source: str, tmp_path: Path) -> None:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    facts = [
        backbone_source(resolve_recipe(request, FinetuneRecipe.load(source, [word]), keeps_model=True)).facts
        for word in ("seed=0", "seed=0", "network.activation=tanh", "network.block.1.pool=max")
    ]
    assert facts[0] == facts[1]
    assert all(facts[0] != other for other in facts[2:])


def test_softmax_on_pixels_trains_the_head_without_a_warning(colours: Path, tmp_path: Path) -> None:
    words = ["finetune", str(colours), "--recipe", "softmax-on-pixels", "--set", "stage.1.epochs=2"]
    done = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "random weights" not in done.stderr
    network = network_of(tmp_path / "run")
    assert {layer.name for layer in network.layers if layer.weights} == {"logits"}
    assert network.get_layer("logits").kernel.shape == (32 * 32 * 3, 3)
    done = CliRunner().invoke(main, [*words, "--set", "stage.1.unfreeze=all", "-o", str(tmp_path / "all")])
    assert (done.exit_code, (tmp_path / "all").exists()) == (3, False)
    assert "only the head would train" in done.stderr
