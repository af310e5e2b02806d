"""Heads with several hidden layers and batch normalisation: they train, predict, resume and convert."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import run_command
from tests.finetuning import network_of, rows_of, run_on
from tests.stage_training import CLASSES, COUNT, max_abs_diff, stage_of, train
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import load, predict
from transfer_cli.catalog import heads
from transfer_cli.export.onnx.writer import write_onnx
from transfer_cli.inference.formats.onnx import open_onnx
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.inference.runtimes import open_graph
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.recipe.sections import Head

WIDTH, SIDE = 5, 8
HEAD = ("head.kind=mlp", "head.units=[6, 4]", "head.batch_norm=true", "final.classifier=head")


def network(*, dropout: float = 0.0, batch_norm: bool = True) -> ClassifierNetwork:
    """Return a small backbone with a head of two hidden layers."""
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="images")
    maps = keras.layers.Conv2D(WIDTH, 3, name="conv")(keras.ops.cast(images, "float32") / 255.0)
    features = keras.Model(images, keras.layers.GlobalAveragePooling2D(name="avg_features")(maps))
    return ClassifierNetwork(features, Head(kind="mlp", units=(6, 4), dropout=dropout, batch_norm=batch_norm), 3, 0)


def features(count: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(2).normal(1, 2, (count, WIDTH)), tf.float32)


def moving(network: ClassifierNetwork) -> list[np.ndarray]:
    return [np.asarray(each) for each in network.head.non_trainable_variables if "moving" in each.name]


def test_layers_of_the_head() -> None:
    with_norms = [layer.name for layer in network(dropout=0.3).head.layers]
    assert with_norms == [
        *("features", "head_hidden", "head_norm", "head_relu", "head_dropout"),
        *("head_hidden_2", "head_norm_2", "head_relu_2", "head_dropout_2", "logits"),
    ]
    plain = network(dropout=0.3, batch_norm=False).head
    assert [layer.name for layer in plain.layers] == [
        *("features", "head_hidden", "head_dropout", "head_hidden_2", "head_dropout_2", "logits")
    ]
    assert [layer.units for layer in plain.layers if hasattr(layer, "units")] == [6, 4, 3]
    assert {*with_norms} <= {*heads.layer_names()}


def test_one_image_is_normalised_by_the_moving_statistics() -> None:
    head, run = network(), tf.function(lambda rows: head.train_head(rows), autograph=False)
    run(features(7))
    after = moving(head)
    several = np.ravel(run(features(1)))
    np.testing.assert_allclose(several, np.ravel(head.head(features(1), training=False)), rtol=1e-5)
    assert all(np.array_equal(one, other) for one, other in zip(after, moving(head), strict=True))
    # The twin: by its own statistics every image is the same, and the moving ones forget the others.
    one, other = (np.ravel(head.head(features(2)[row : row + 1], training=True)) for row in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(several, one)
    assert not np.array_equal(after[1], moving(head)[1])


def test_one_image_keeps_its_dropout() -> None:
    head = network(dropout=0.5)
    drawn = {tuple(np.ravel(head.train_head(features(1)))) for _ in range(12)}
    assert len(drawn) > 1


def test_a_step_is_that_of_keras(weights: Path) -> None:
    overrides = (*HEAD, "stage.1.unfreeze=head", "stage.1.warmup=0", "stage.1.schedule=constant", "head.l2=0")
    trainer = stage_of(weights, *overrides, "stage.1.ema=0", "stage.1.gradient_clip=1e9")
    context, data = trainer._context, trainer._data
    own = keras.Sequential([keras.models.clone_model(context.network.head)])
    own.set_weights(context.network.head.get_weights())
    own.compile(keras.optimizers.SGD(0.05, momentum=0.9), keras.losses.CategoricalCrossentropy(from_logits=True))
    rows = np.asarray(context.network.features(data.images[:COUNT]))
    train(trainer, 1)
    own.train_on_batch(rows, np.eye(CLASSES, dtype=np.float32)[data.truth[:COUNT]])
    assert max_abs_diff(context.network.head.get_weights(), own.get_weights()) < 1e-5
    # The twin: in inference mode, as the backbone is trained, the statistics stay.
    assert min(np.abs(each).max() for each in moving(context.network)) > 1e-3


@pytest.mark.integration
def test_an_epoch_with_a_last_batch_of_one_image(weights: Path) -> None:
    trainer = stage_of(weights, *HEAD, "stage.1.unfreeze=head", "batch_size=13", "head.dropout=0.2")
    loss, _ = train(trainer, 1, 2)
    assert np.isfinite(loss)
    before = trainer._context.network.weights(set())
    assert {"moving_mean", "moving_variance"} <= {name.rpartition("/")[2] for name in before}
    val = trainer.score_val()
    train(trainer, 3)
    assert trainer.score_val() != val
    trainer._context.network.set_weights(before, set())
    assert trainer.score_val() == val


def test_converted_graphs_predict_like_keras(tmp_path: Path) -> None:
    trained = network(dropout=0.2)
    for _ in range(5):
        trained.train_head(features(9))
    images = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    expected = np.asarray(trained.whole(images, training=False))
    write_onnx(trained.whole, tmp_path / "network.onnx")
    convert(trained.whole, tmp_path / "network.tflite")
    for run in (open_onnx(tmp_path / "network.onnx"), open_graph("litert", tmp_path / "network.tflite")):
        np.testing.assert_allclose(run(images), expected, atol=1e-5)
    assert np.abs(np.asarray(trained.whole(images, training=True)) - expected).max() > 1e-3


@pytest.mark.integration
def test_a_run_with_head_norms_resumes_predicts_and_exports(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*HEAD, "stage.1.epochs=2", "stage.1.unfreeze=head", "early_stopping.patience=0", "refit.when=never")
    words += ("final.interpolate=1", "inference.runtime=auto", "batch_size=5")
    straight = run_on(colours, tmp_path / "straight", *words).run
    stop_before_each_epoch(monkeypatch)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, tmp_path / "run", *words)
    run_on(colours, tmp_path / "run", *words)
    assert same_end(straight.path, tmp_path / "run")
    assert network_of(tmp_path / "run").get_layer("head_norm_2").moving_mean.numpy().any()
    assert (tmp_path / "run/model/graph.tflite").is_file()
    expected = rows_of(tmp_path / "run/predictions_test.csv")
    (batch,) = predict(load(str(tmp_path / "run")), [str(colours / row["path"]) for row in expected])
    written = [[float(row[f"p_{label}"]) for label in ("blue", "green", "red")] for row in expected]
    np.testing.assert_allclose(batch.probabilities, written, atol=2e-5)
    done = run_command("export", tmp_path / "run", "--format", "onnx", "-o", tmp_path / "out")
    assert done.code == 0, done.err
