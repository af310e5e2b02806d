"""Class balancing of `extract`: the probabilities in the run and in the bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_command
from tests.finetuning import WORDS, rows_of
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.linear import remove_log_prior
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import RecipeError
from transfer_cli.features.table import read
from transfer_cli.inference.load import load
from transfer_cli.training.extract import extract

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def uneven(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the colours with only three red images."""
    folder = tmp_path_factory.mktemp("uneven") / "uneven"
    shutil.copytree(colours, folder)
    for path in sorted((folder / "red").iterdir())[3:]:
        path.unlink()
    return folder


def run_on(folder: Path, run: Path, weights: Path, *overrides: str, **words: str) -> RunDirectory:
    recipe = ExtractRecipe.load(None, overrides, {**WORDS, "backbone.weights": str(weights), **words})
    extract(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run)), recipe)
    return RunDirectory(run)


def scored(run: RunDirectory, part: str = "test") -> np.ndarray:
    rows = rows_of(run.predictions(part))
    return np.array([[float(row[f"p_{name}"]) for name in ("blue", "green", "red")] for row in rows])


@pytest.mark.parametrize("classifier", ["lda", "logistic", "knn"])
def test_logit_adjustment_removes_the_prior_of_any_classifier(
    classifier: str, uneven: Path, weights: Path, tmp_path: Path
) -> None:
    words = {"classifier.name": classifier, "backbone.pooling": "avg"}
    plain = run_on(uneven, tmp_path / "plain", weights, **words)
    balanced = run_on(uneven, tmp_path / "balanced", weights, "balance.method=logit-adjustment", **words)
    counts = np.array([*Split.read(plain.split).training_counts().values()])
    adjusted = scored(plain) / (counts / counts.sum())
    expected = adjusted / adjusted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scored(balanced), expected, atol=1e-5)
    assert scored(balanced)[:, 2].mean() > scored(plain)[:, 2].mean()
    # The bundle predicts the same for the same images: the prior is removed once only.
    bundle, _ = ModelBundle.read(balanced.path)
    np.testing.assert_allclose(np.exp(bundle.log_prior or ()), counts / counts.sum())
    paths = [str(uneven / row["path"]) for row in rows_of(balanced.predictions("test"))]
    images = next(batches(paths, size=32, resize="squash", batch_size=len(paths))).images
    np.testing.assert_allclose(load(str(balanced.path)).predict_proba(images), scored(balanced), atol=1e-5)
    assert ModelBundle.read(plain.path)[0].log_prior is None


@pytest.mark.parametrize("name", ["lda", "logistic"])
def test_class_weights_increase_rare_classes(name: str, uneven: Path, weights: Path, tmp_path: Path) -> None:
    words = {"classifier.name": name}
    run = run_on(uneven, tmp_path / "run", weights, "balance.method=class-weights", "classifier.tune=false", **words)
    split = Split.read(run.split)
    train, truth = split.mask("train"), split.truth()
    counts = np.bincount(truth[train])
    matrix = read(run.features)
    fitted = fit.fit(
        classifiers.find(name),
        matrix[train],
        truth[train],
        fit.FitOptions(classes=3, tune=False, out_of_fold=False, weights=train.sum() / (3 * counts)),
    )
    expected = fit.probabilities(fitted.pipeline, matrix[split.mask("test")], 3)
    np.testing.assert_allclose(scored(run), expected, atol=1e-4)
    plain = run_on(uneven, tmp_path / "plain", weights, "classifier.tune=false", **words)
    assert scored(run)[:, 2].mean() > scored(plain)[:, 2].mean()


def test_unsupported_balancing_raises(uneven: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="knn does not support class weights") as caught:
        run_on(uneven, tmp_path / "run", weights, "balance.method=class-weights", **{"classifier.name": "knn"})
    assert "logit-adjustment" in str(caught.value.hint)
    words = {"classifier.name": "nearest-centroid"}
    with pytest.raises(RecipeError, match="nearest-centroid does not support class weights"):
        run_on(uneven, tmp_path / "other", weights, "balance.method=oversampling", **words)
    with pytest.raises(RecipeError, match="focal is a loss function, which only finetune has"):
        ExtractRecipe.load(None, ("balance.method=focal",))


def test_remove_log_prior_none_keeps_probabilities() -> None:
    rows = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    np.testing.assert_allclose(remove_log_prior(rows, [np.log(0.5)] * 2), rows, rtol=1e-6)
    assert remove_log_prior(rows, None) is rows


def test_recall_per_class_is_reported_for_imbalanced_classes(
    uneven: Path, colours: Path, weights: Path, tmp_path: Path
) -> None:
    words = [f"--set={word}={value}" for word, value in {**WORDS, "backbone.weights": weights}.items()]
    done = run_command("extract", uneven, *words, "-o", tmp_path / "uneven")
    metric_values = json.loads((tmp_path / "uneven/metrics.json").read_text())["test"]
    worst = min(("blue", "green", "red"), key=lambda name: metric_values[f"recall/{name}"]["value"])
    (line,) = [line for line in done.err.splitlines() if "recall per class" in line]
    assert line.startswith(f"test  recall per class: {worst} {metric_values[f'recall/{worst}']['value']:.2f}, ")
    assert "recall per class" not in run_command("extract", colours, *words, "-o", tmp_path / "even").err
