"""Every classifier of the catalog predicts in an ONNX file what it predicts in the bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from transfer_cli.calibration.temperature import apply_temperature
from transfer_cli.catalog.classifiers import CLASSIFIERS
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.linear import remove_log_prior
from transfer_cli.errors import ModelError
from transfer_cli.export.onnx import trees
from transfer_cli.export.onnx.writer import write_onnx
from transfer_cli.inference.formats.onnx import open_onnx

Features = NDArray[np.float32]
SIDE = 4
CASES = ("two classes", "classes without training images", "multi-label")
SMALLER: dict[str, dict[str, Any]] = {
    "adaboost": {"n_estimators": 10},
    "bagging": {"n_estimators": 8, "n_jobs": 1},
    "extra-trees": {"n_estimators": 10, "n_jobs": 1},
    "gradient-boosting": {"max_iter": 6},
    "mlp": {"hidden_layer_sizes": (8,), "max_iter": 20},
    "random-forest": {"n_estimators": 10, "n_jobs": 1},
}
"""Parameters that make a row of the catalog fast to fit."""


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a network whose features are the pixels of the image."""
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    return keras.Model(images, keras.layers.Flatten()(keras.ops.cast(images, "float32")), name="pixels")


def random_images(classes: int, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images of overlapping classes, and their classes."""
    centres = np.random.default_rng(0).uniform(90, 166, (classes, SIDE, SIDE, 3))
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, count - classes)])
    return np.clip(random.normal(centres[truth], 45), 0, 255).astype(np.uint8), truth


def fitted(name: str, case: str) -> tuple[Any, int, NDArray[np.uint8], dict[str, Any]]:
    """Return a classifier, the number of classes, test images, and the corrections of its probabilities."""
    kinds = {CASES[0]: 2, CASES[1]: 4, CASES[2]: 3}[case]
    images, truth = random_images(kinds, 90, 1)
    classes, corrections = kinds, {}
    if case == CASES[1]:
        truth, classes = np.array([0, 2, 3, 5])[truth], 7
        corrections = {"log_prior": np.log(np.arange(1, 8) / 28).tolist(), "temperature": 1.7}
    if case == CASES[2]:
        # Each image has its own label and some others; all have the second, whose classifier is constant.
        truth = np.eye(3, dtype=np.int64)[truth] | (np.random.default_rng(3).random((len(truth), 3)) < 0.2)
        truth[:, 1] = 1
    features = images.reshape(len(images), -1).astype(np.float32)
    row = CLASSIFIERS[name]
    row = replace(row, build=lambda *words: CLASSIFIERS[name].build(*words).set_params(**SMALLER.get(name, {})))
    pipeline = fit.fit(row, features, truth, fit.FitOptions(classes=classes, tune=False, out_of_fold=False)).pipeline
    return pipeline, classes, random_images(kinds, 60, 2)[0], corrections


def predictions(pipeline: Any, features: Features, classes: int, corrections: dict[str, Any]) -> NDArray[np.float32]:
    probabilities = fit.probabilities(pipeline, features, classes)
    return apply_temperature(
        remove_log_prior(probabilities, corrections.get("log_prior")), corrections.get("temperature")
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_predicts_like_the_bundle(name: str, case: str, network: keras.Model, tmp_path: Path) -> None:
    pipeline, classes, images, corrections = fitted(name, case)
    expected = predictions(pipeline, images.reshape(len(images), -1).astype(np.float32), classes, corrections)
    assert expected.std(axis=0).max() > 0.005
    write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=classes, **corrections)
    predicted = open_onnx(tmp_path / "a.onnx")(images)
    np.testing.assert_allclose(predicted, expected, atol=1e-6)
    # Of tied classes either may be first.
    lead = expected.max(axis=1) - expected[np.arange(len(expected)), predicted.argmax(axis=1)]
    assert lead.max() <= 1e-6
    impossible = (expected == 0).all(axis=0)
    assert impossible.sum() == (3 if case == CASES[1] else 0)
    assert not predicted[:, impossible].any()
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(open_onnx(tmp_path / "a.onnx")(images[..., ::-1].copy()), expected, atol=1e-6)


@pytest.mark.parametrize("omitted", ["log_prior", "temperature"])
def test_classifier_without_a_correction_predicts_otherwise(omitted: str, network: keras.Model, tmp_path: Path) -> None:
    pipeline, classes, images, corrections = fitted("lda", CASES[1])
    expected = predictions(pipeline, images.reshape(len(images), -1).astype(np.float32), classes, corrections)
    corrections[omitted] = None
    write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=classes, **corrections)
    assert np.abs(open_onnx(tmp_path / "a.onnx")(images) - expected).max() > 0.01


def test_tree_feature_on_a_threshold(network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold 7 - 1e-9 must be rounded down to float32: the nearest float32 is 7, which is above it."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    features = np.repeat(np.array([[0.0], [255.0]], np.float32), 10, axis=0) * np.ones(SIDE * SIDE * 3, np.float32)
    pipeline = make_pipeline(RandomForestClassifier(5, random_state=0)).fit(features, np.repeat([0, 1], 10))
    for tree in pipeline[-1].estimators_:
        inner = tree.tree_.children_left >= 0
        tree.tree_.threshold[inner] = 7.0 - 1e-9
    images = np.full((1, SIDE, SIDE, 3), 7, np.uint8)
    expected = pipeline.predict_proba(images.reshape(1, -1).astype(np.float32))
    assert expected[0, 1] > 0.9
    write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=2)
    np.testing.assert_allclose(open_onnx(tmp_path / "a.onnx")(images), expected, atol=1e-6)
    monkeypatch.setattr(trees, "_round_down", lambda thresholds: thresholds.astype(np.float32))
    write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=2)
    assert open_onnx(tmp_path / "a.onnx")(images)[0, 1] < 0.1


def test_only_trees_use_the_ml_domain(network: keras.Model, tmp_path: Path) -> None:
    for name, domains in (("adaboost", ["", "ai.onnx.ml"]), ("knn", [""])):
        pipeline, classes, _, _ = fitted(name, CASES[0])
        write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=classes, metadata={"a": "b"})
        model = onnx.load(tmp_path / "a.onnx")
        assert sorted(opset.domain for opset in model.opset_import) == domains
        assert [(entry.key, entry.value) for entry in model.metadata_props] == [("a", "b")]


def _min_max_scaled() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import MinMaxScaler

    return MinMaxScaler(), LogisticRegression()


def _naive_bayes() -> Any:
    from sklearn.naive_bayes import GaussianNB

    return (GaussianNB(),)


def _polynomial() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return (CalibratedClassifierCV(SVC(kernel="poly"), ensemble=False, cv=2),)


def _votes() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return (KNeighborsClassifier(3),)


def _several_calibrations() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    return (CalibratedClassifierCV(LinearSVC(), cv=2),)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (_min_max_scaled, "classifier after a MinMaxScaler"),
        (_naive_bayes, "classifier GaussianNB"),
        (_polynomial, "classifier with the kernel poly"),
        (_votes, "neighbours that are not weighted"),
        (_several_calibrations, "averages several calibrations"),
    ],
)
def test_unsupported_classifier_is_a_model_error(
    steps: Callable[[], Any], reason: str, network: keras.Model, tmp_path: Path
) -> None:
    from sklearn.pipeline import make_pipeline

    images, truth = random_images(2, 40, 1)
    pipeline = make_pipeline(*steps()).fit(images.reshape(40, -1) / np.float32(255), truth)
    with pytest.raises(ModelError, match=f"^pixels cannot be exported to ONNX. Not supported: .*{reason}"):
        write_onnx(network, tmp_path / "a.onnx", pipeline=pipeline, classes=2)
    assert not list(tmp_path.iterdir())
