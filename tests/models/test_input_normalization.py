"""Normalisation in front of a network equals that of ImageDataGenerator, and is kept by files and graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.finetuning import network_of, rows_of, run_on
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import load, predict
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import ModelError, RecipeError
from transfer_cli.export.onnx.writer import write_onnx
from transfer_cli.inference.formats.onnx import open_onnx
from transfer_cli.inference.litert_conversion import convert
from transfer_cli.inference.runtimes import open_graph
from transfer_cli.io.untrusted.keras_config import check_keras_file
from transfer_cli.models import backbone, input_normalization
from transfer_cli.recipe.normalization import Normalization
from transfer_cli.recipe.recipes import FinetuneRecipe

WORDS = tuple(Normalization.model_fields)
CHOICES = [(word,) for word in WORDS] + [WORDS[:2], WORDS[2:]]


def images() -> NDArray[np.uint8]:
    random = np.random.default_rng(4)
    colours = random.normal((60, 120, 200), 20, (9, 1, 1, 3))
    return np.clip(colours + random.normal(0, 40, (9, 32, 32, 3)), 0, 255).astype(np.uint8)


def choice_of(words: tuple[str, ...]) -> Normalization:
    return Normalization(**dict.fromkeys(words, True))


def network(words: tuple[str, ...], rows: NDArray[np.int64], name: str = "small_cnn") -> keras.Model:
    """Return the images as the first layer with weights receives them, fitted to some rows."""
    whole = backbone.build(find(name), weights="none", normalization=choice_of(words))
    input_normalization.fit(whole, images(), rows, choice_of(words))
    first = next(layer for layer in whole.layers if isinstance(layer, keras.layers.Conv2D))
    return keras.Model(whole.inputs[0], first.input)


@pytest.mark.parametrize("words", CHOICES, ids="+".join)
def test_images_are_those_of_image_data_generator(words: tuple[str, ...]) -> None:
    rows = np.arange(1, 8)
    centring = [word.replace("std_normalization", "center") for word in words]
    # Keras centres, too, where it is told to divide by the deviation only, and warns of it.
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**dict.fromkeys([*words, *centring], True))
    scaled = images().astype(np.float32) / 255
    if words[0].startswith("featurewise"):
        generator.fit(scaled[rows])
    expected = np.stack([generator.standardize(image.copy()) for image in scaled])
    normalised = np.asarray(network(words, rows)(images()))
    np.testing.assert_allclose(normalised, expected, atol=2e-4)
    assert np.abs(normalised - scaled).max() > 0.05
    if words[0].startswith("featurewise"):
        # The twin: fitted to all images, val included.
        assert np.abs(np.asarray(network(words, np.arange(9))(images())) - expected).max() > 1e-3


def test_grey_images_have_one_mean() -> None:
    rows = np.arange(9)
    normalised = np.asarray(network(WORDS[:2], rows, "lenet5")(images()))
    assert normalised.shape == (9, 32, 32, 1)
    assert (float(normalised.mean()), float(normalised.std())) == pytest.approx((0, 1), abs=1e-4)


def test_files_and_graphs_give_the_same(tmp_path: Path) -> None:
    inside = network(WORDS, np.arange(9))
    whole = keras.Model(inside.inputs[0], keras.layers.Flatten(name="flatten")(inside.output))
    expected = np.asarray(whole(images()))
    whole.save(tmp_path / "network.keras")
    check_keras_file(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(loaded(images()), expected, atol=5e-5)
    write_onnx(whole, tmp_path / "network.onnx")
    convert(whole, tmp_path / "network.tflite")
    for run in (open_onnx(tmp_path / "network.onnx"), open_graph("litert", tmp_path / "network.tflite")):
        np.testing.assert_allclose(run(images()), expected, atol=5e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["backbone.name=mobilenet"], "needs its pixels as it was trained with them.* Received: imagenet"),
        (["backbone.name=efficientnet_b0", "backbone.weights=none"], "which efficientnet_b0 does inside"),
    ],
)
def test_normalization_of_a_network_that_needs_its_own_pixels_raises(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        FinetuneRecipe.load(None, [*settings, "normalization.samplewise_center=true"])
    FinetuneRecipe.load(
        None, ["backbone.name=mobilenet", "backbone.weights=none", "normalization.samplewise_center=true"]
    )


SMALL = (
    *("backbone.name=small_cnn", "stage.1.epochs=2", "early_stopping.patience=0", "refit.when=never", "batch_size=8"),
    *("inference.runtime=auto", *(f"normalization.{word}=true" for word in WORDS)),
)


@pytest.mark.integration
def test_a_run_resumes_predicts_and_is_started_from(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run_on(colours, tmp_path / "straight", *SMALL, source="small-cnn").run
    stop_before_each_epoch(monkeypatch)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_on(colours, tmp_path / "run", *SMALL, source="small-cnn")
    run_on(colours, tmp_path / "run", *SMALL, source="small-cnn")
    assert same_end(straight.path, tmp_path / "run")
    expected = rows_of(tmp_path / "run/predictions_test.csv")
    (batch,) = predict(load(str(tmp_path / "run")), [str(colours / row["path"]) for row in expected])
    written = [[float(row[f"p_{label}"]) for label in ("blue", "green", "red")] for row in expected]
    np.testing.assert_allclose(batch.probabilities, written, atol=2e-5)
    monkeypatch.undo()
    again = (*SMALL, f"backbone.weights={tmp_path / 'run'}", "stage.1.epochs=1")
    run_on(colours, tmp_path / "again", *again, source="small-cnn")
    layer = "featurewise_std_normalization"
    means: list[Any] = [network_of(tmp_path / name).get_layer(layer).mean for name in ("run", "again")]
    np.testing.assert_array_equal(*means)
    with pytest.raises(ModelError, match="normalises its images otherwise"):
        run_on(
            colours, tmp_path / "other", *again, "normalization.samplewise_std_normalization=false", source="small-cnn"
        )
