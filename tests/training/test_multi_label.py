"""Multi-label: from a CSV file through extract and finetune to the table of predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.conftest import COLOURS
from tests.finetuning import WORDS, rows_of
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.folds import folds
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import RecipeError
from transfer_cli.evaluation.comparison import compare
from transfer_cli.evaluation.evaluate import evaluate
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.inference.load import load
from transfer_cli.recipe.sections import Balance
from transfer_cli.runs.evaluation_directory import EvaluationDirectory
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune
from transfer_cli.training.loop.class_balancing import Balancing

pytestmark = pytest.mark.integration

ONE_STAGE = ("refit.when=never", "stage.1.epochs=3", "stage.1.unfreeze=from:conv_dw_13")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images with two halves of one colour each, and labels.csv with the colours; grey has no label."""
    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    colours = {**COLOURS, "": (128, 128, 128)}
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "labels", "split"])
        for number in range(160):
            names = random.choice(list(colours), 2)
            image = np.zeros((32, 32, 3), np.uint8)
            for half, name in zip((image[:, :16], image[:, 16:]), names, strict=True):
                half[:] = np.clip(np.array(colours[name]) + random.normal(0, 5, half.shape), 0, 255)
            Image.fromarray(image).save(folder / f"{number}.png")
            table.writerow(
                [f"{number}.png", ";".join(sorted({*names} - {""})), ("train", "train", "val", "test")[number % 4]]
            )
    return folder


@pytest.fixture(scope="session")
def extracted(pairs: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("several") / "extract"
    recipe = ExtractRecipe.load(settings={**WORDS, "backbone.weights": str(weights)})
    extract(TrainingRequest(ImageFolder.scan(pairs), RunDirectory(run)), recipe)
    return run


@pytest.fixture(scope="session")
def trained(pairs: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("several") / "finetune"
    recipe = FinetuneRecipe.load(overrides=ONE_STAGE, settings={**WORDS, "backbone.weights": str(weights)})
    finetune(TrainingRequest(ImageFolder.scan(pairs), RunDirectory(run)), recipe)
    return run


@pytest.mark.parametrize("name", ["extracted", "trained"])
def test_multi_label_run_writes_thresholds_labels_and_metrics(
    name: str, pairs: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(name)
    bundle, _ = ModelBundle.read(run)
    assert (bundle.task, bundle.class_names) == ("multi-label", ("blue", "green", "red"))
    thresholds = np.array(bundle.thresholds)
    rows = rows_of(run / "predictions_test.csv")
    assert list(rows[0]) == ["path", "true_label", "labels", "p_blue", "p_green", "p_red"]
    probabilities = np.array([[float(row[f"p_{name}"]) for name in bundle.class_names] for row in rows])
    for row, has in zip(rows, probabilities >= thresholds, strict=True):
        assert row["labels"] == ";".join(name for name, there in zip(bundle.class_names, has, strict=True) if there)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["mean_average_precision"]["value"] > 0.6
    assert metrics["val"]["macro_f1"]["value"] > 0.6
    assert {"recall/blue", "recall/green", "recall/red"} < metrics["test"].keys()
    # Probabilities of labels need not sum to one.
    assert np.ptp(probabilities.sum(axis=1)) > 0.5
    loaded = load(str(run))
    assert loaded.thresholds == bundle.thresholds
    from transfer_cli.data.image_batches import batches

    paths = [str(pairs / row["path"]) for row in rows]
    images = next(batches(paths, size=32, resize="squash", batch_size=len(paths))).images
    np.testing.assert_allclose(loaded.predict_proba(images), probabilities, atol=1e-5)


def test_multi_label_finetune_starts_from_the_probe_and_monitors_map(trained: Path) -> None:
    first, *rest = rows_of(trained / "history.csv")
    assert "val_balanced_accuracy" not in first
    assert float(first["val_mean_average_precision"]) > 0.6
    assert len(rest) == 3
    recipe = (trained / "recipe.toml").read_text()
    assert 'monitor = "mean_average_precision"' in recipe


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("balance.method=oversampling",), "balance.method = oversampling is not possible for a multi-label task"),
        (
            ("early_stopping.monitor=balanced_accuracy",),
            "early_stopping.monitor = balanced_accuracy is not possible for a multi-label task",
        ),
    ],
)
def test_multi_label_single_label_settings_raise(
    pairs: Path, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    recipe = FinetuneRecipe.load(overrides=overrides, settings=WORDS)
    with pytest.raises(RecipeError, match=message):
        finetune(TrainingRequest(ImageFolder.scan(pairs), RunDirectory(tmp_path / "run")), recipe)
    assert not (tmp_path / "run").exists()


def truth_of(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    features = random.normal(size=(count, 6)).astype(np.float32)
    return features, (features[:, :3] + random.normal(0, 0.5, (count, 3)) > 0.4).astype(np.int64)


SLOW = {"gradient-boosting", "random-forest", "extra-trees", "bagging"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in classifiers.CLASSIFIERS]
)
def test_multi_label_classifier_fits_one_vs_rest(name: str, tmp_path: Path) -> None:
    features, truth = truth_of(np.random.default_rng(1), 60)
    spec = classifiers.find(name)
    fitted = fit.fit(spec, features, truth, fit.FitOptions(classes=3, tune=False, out_of_fold=True))
    assert fitted.out_of_fold is not None
    right = ((fitted.out_of_fold > 0.5) == truth).mean()
    assert right > 0.65
    fit.save(fitted.pipeline, tmp_path / "classifier.skops")
    loaded = fit.load(tmp_path / "classifier.skops")
    expected = fit.probabilities(fitted.pipeline, features, 3)
    np.testing.assert_array_equal(fit.probabilities(loaded, features, 3), expected)
    if spec.linear:
        np.testing.assert_allclose(Linear.fold(fitted.pipeline, 3).probabilities(features), expected, atol=1e-5)


def test_multi_label_probabilities_match_separate_classifiers() -> None:
    features, truth = truth_of(np.random.default_rng(2), 120)
    fitted = fit.fit(
        classifiers.find("logistic"), features, truth, fit.FitOptions(classes=3, tune=False, out_of_fold=False)
    )
    probabilities = fit.probabilities(fitted.pipeline, features, 3)
    scaled = StandardScaler().fit_transform(features)
    for column in range(3):
        alone = LogisticRegression(C=fitted.value, solver="newton-cg").fit(scaled, truth[:, column])
        np.testing.assert_allclose(probabilities[:, column], alone.predict_proba(scaled)[:, 1], atol=1e-3)


def test_multi_label_constant_label_gets_probability_0_or_1(tmp_path: Path) -> None:
    features, truth = truth_of(np.random.default_rng(3), 60)
    truth[:, 0], truth[:, 1] = 1, 0
    fitted = fit.fit(classifiers.find("logistic"), features, truth, fit.FitOptions(classes=3, tune=True))
    fit.save(fitted.pipeline, tmp_path / "classifier.skops")
    loaded = fit.load(tmp_path / "classifier.skops")
    for probabilities in (fit.probabilities(loaded, features, 3), Linear.fold(loaded, 3).probabilities(features)):
        assert (probabilities[:, 0] == 1).all()
        assert (probabilities[:, 1] == 0).all()


def test_multi_label_folds_contain_every_label() -> None:
    random = np.random.default_rng(4)
    truth = (random.random((100, 4)) < [0.5, 0.3, 0.1, 0.07]).astype(np.int64)
    dealt = folds(truth, 5, 0)
    assert sorted(np.concatenate([test for _, test in dealt])) == list(range(100))
    for train, test in dealt:
        assert not set(train) & set(test)
        assert truth[train].any(axis=0).all()


def test_multi_label_losses_match_numpy() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(0, 2, (50, 3)).astype(np.float32)
    truth = (random.random((50, 3)) < [0.5, 0.2, 0.1]).astype(np.int64)
    shares = truth.astype(np.float32)

    def losses(method: str, smoothing: float = 0.0) -> np.ndarray:
        return np.asarray(Balancing.of(Balance(method=method), truth, 3).losses(shares, logits, smoothing))

    def entropy(target: np.ndarray) -> np.ndarray:
        return target * np.log1p(np.exp(-logits)) + (1 - target) * np.log1p(np.exp(logits))

    plain = entropy(truth)
    np.testing.assert_allclose(losses("none"), plain.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(losses("none", 0.2), entropy(0.8 * truth + 0.1).mean(axis=1), rtol=1e-5)
    counts = truth.sum(axis=0)
    weighted = plain * np.where(truth == 1, (50 - counts) / counts, 1)
    np.testing.assert_allclose(losses("class-weights"), weighted.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(losses("focal"), (plain * (1 - np.exp(-plain)) ** 2).mean(axis=1), rtol=1e-4)
    hits = Balancing.of(Balance(), truth, 3).hits(shares, logits)
    assert int(hits) == ((logits > 0) == truth).all(axis=1).sum()


def test_multi_label_class_weights_balance_each_label() -> None:
    truth = np.zeros((100, 3), np.int64)
    truth[:10, 0] = truth[5:15, 1] = truth[:, 2] = 1
    weights = Balancing.of(Balance(method="class-weights"), truth, 3).weights
    np.testing.assert_allclose(weights, [9, 9, 0.01])
    assert (Balancing.of(Balance(), truth, 3).weights == 1).all()


@pytest.mark.parametrize("name", ["linear-svm", "nearest-centroid"])
def test_multi_label_label_with_one_image_is_calibrated(name: str) -> None:
    features, truth = truth_of(np.random.default_rng(6), 60)
    truth[:, 2] = 0
    truth[7, 2] = 1
    fitted = fit.fit(classifiers.find(name), features, truth, fit.FitOptions(classes=3, tune=False))
    assert fitted.out_of_fold is not None
    # No classifier predicts it without having been trained on it.
    assert np.flatnonzero(np.isnan(fitted.out_of_fold[:, 0])).tolist() == [7]


def test_multi_label_evaluate_and_compare_match_the_run(
    extracted: Path, trained: Path, pairs: Path, tmp_path: Path
) -> None:
    folder = ImageFolder.scan(pairs, for_training=False)
    evaluation = evaluate(str(extracted), folder, EvaluationDirectory(tmp_path / "evaluation"), part="test")
    own = json.loads((extracted / "metrics.json").read_text())["test"]
    # Only training looks for copies of its images.
    own = {name: figure for name, figure in own.items() if not name.endswith("_near_duplicates")}
    assert evaluation.trained_on == 0
    assert evaluation.metrics["test"].keys() == own.keys()
    for name, figure in own.items():
        assert evaluation.metrics["test"][name]["value"] == pytest.approx(figure["value"], abs=1e-4), name
    assert not (tmp_path / "evaluation/confusion.csv").exists()
    flipped = evaluate(str(extracted), folder, EvaluationDirectory(tmp_path / "flipped"), part="test", tta="flip")
    assert flipped.gain is not None
    assert flipped.gain.metrics["accuracy"]["value"] == flipped.metrics["test"]["exact_matches"]["value"]
    assert flipped.gain.metrics_without["accuracy"]["value"] == evaluation.metrics["test"]["exact_matches"]["value"]
    both = compare([ModelPredictions.read(tmp_path / "evaluation"), ModelPredictions.read(trained)])
    assert both.metrics[str(tmp_path / "evaluation")]["accuracy"]["value"] == pytest.approx(
        own["exact_matches"]["value"]
    )
    assert both.metrics[str(trained)]["macro_f1"]["value"] == pytest.approx(
        json.loads((trained / "metrics.json").read_text())["test"]["macro_f1"]["value"]
    )
