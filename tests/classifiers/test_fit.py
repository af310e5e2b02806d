"""Every row of the catalog of classifiers is tested by being there."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from transfer_cli.catalog.classifiers import CLASSIFIERS, ESTIMATORS, ClassifierSpec, find, names, trusted_types
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.folds import folds, single_rows
from transfer_cli.errors import InputError, ModelError, UnknownNameError

CLASSES = 3
ROWS = [pytest.param(spec, id=name) for name, spec in CLASSIFIERS.items()]


def clouds(counts: list[int], width: int = 12, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of classes that are told apart well but not perfectly."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    centres = random.normal(0, 1.6, (len(counts), width))
    return (centres[truth] + random.normal(0, 1, (len(truth), width))).astype(np.float32), truth


@pytest.mark.parametrize("spec", ROWS)
def test_fit_every_classifier_predicts_and_survives_saving(spec: ClassifierSpec, tmp_path: Path) -> None:
    features, truth = clouds([30, 30, 30])
    fitted = fit.fit(spec, features, truth, fit.FitOptions(classes=CLASSES, tune=spec.tuned, seed=0))
    given = fit.probabilities(fitted.pipeline, features, CLASSES)
    assert given.shape == (90, CLASSES)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
    assert (given.argmax(axis=1) == truth).mean() > 0.9
    assert fitted.out_of_fold is not None
    assert (fitted.out_of_fold.argmax(axis=1) == truth).mean() > 0.8
    path = tmp_path / "classifier.skops"
    fit.save(fitted.pipeline, path)
    again = fit.probabilities(fit.load(path), features, CLASSES)
    assert np.array_equal(again, given)


@pytest.mark.parametrize("spec", ROWS)
@pytest.mark.parametrize("counts", [[1, 5, 9], [3, 3, 3]], ids=str)
def test_fit_classes_with_few_images_are_trained_on(spec: ClassifierSpec, counts: list[int]) -> None:
    features, truth = clouds(counts)
    fitted = fit.fit(spec, features, truth, fit.FitOptions(classes=CLASSES, tune=spec.tuned, seed=0))
    given = fit.probabilities(fitted.pipeline, features, CLASSES)
    assert np.isfinite(given).all()
    assert fitted.out_of_fold is not None
    assert np.isnan(fitted.out_of_fold).all(axis=1).tolist() == single_rows(truth).tolist()


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "nearest-centroid"])
@pytest.mark.parametrize("counts", [[1, 1, 2], [1, 1, 1]], ids=str)
def test_fit_one_image_per_class_works_for_most(name: str, counts: list[int]) -> None:
    features, truth = clouds(counts)
    fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes=CLASSES, tune=True, seed=0))
    assert np.isfinite(fit.probabilities(fitted.pipeline, features, CLASSES)).all()


@pytest.mark.parametrize("name", ["lda", "nearest-centroid"])
@pytest.mark.parametrize("counts", [[1, 1, 2], [2, 2, 2], [1, 3, 1], [2, 1, 2]], ids=str)
def test_fit_one_class_with_two_images_is_enough_for_a_variance(name: str, counts: list[int]) -> None:
    features, truth = clouds(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes=CLASSES, tune=True, seed=0))
    given = fit.probabilities(fitted.pipeline, features, CLASSES)
    assert np.isfinite(given).all()
    assert (given.argmax(axis=1) == truth).all()


def test_fit_one_image_per_class_raises_without_a_variance() -> None:
    features, truth = clouds([1, 1, 1])
    expected = "^nearest-centroid cannot be trained on 3 images of 3 classes: it needs at least one class with two"
    with pytest.raises(InputError, match=expected):
        fit.fit(find("nearest-centroid"), features, truth, fit.FitOptions(classes=CLASSES, tune=True, seed=0))


@pytest.mark.parametrize("spec", ROWS)
def test_fit_same_seed_gives_same_model(spec: ClassifierSpec) -> None:
    features, truth = clouds([15, 15, 15])

    def given() -> NDArray[np.float32]:
        fitted = fit.fit(spec, features, truth, fit.FitOptions(classes=CLASSES, tune=False, out_of_fold=False, seed=4))
        return fit.probabilities(fitted.pipeline, features, CLASSES)

    assert np.array_equal(given(), given())


def test_folds_are_a_partition_with_single_rows_in_training() -> None:
    truth = np.array([0] * 7 + [1] * 2 + [2])
    splits = folds(truth, 5, seed=0)
    assert len(splits) == 5
    assert sorted(np.concatenate([test for _, test in splits]).tolist()) == list(range(10))
    for train, test in splits:
        assert 9 in train
        assert set(truth[train]) == {0, 1, 2}
        assert not set(train) & set(test) - {9}


def test_out_of_fold_noise_scores_at_random_level() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(size=(200, 50)).astype(np.float32)
    truth = random.integers(0, 2, 200)
    fitted = fit.fit(find("knn"), noise, truth, fit.FitOptions(classes=2, tune=False))
    assert fitted.out_of_fold is not None
    assert (fitted.out_of_fold.argmax(axis=1) == truth).mean() < 0.65
    seen = fit.probabilities(fitted.pipeline, noise, 2)
    # The twin: the classifier's own training rows would have given a perfect score.
    assert (seen.argmax(axis=1) == truth).mean() == 1


def test_tuning_finds_the_minimum_of_the_whole_grid() -> None:
    features, truth = clouds([25, 25, 25], width=60)
    spec = find("logistic")
    fitted = fit.fit(spec, features, truth, fit.FitOptions(classes=CLASSES, tune=True))
    splits = folds(truth, spec.folds, 0)

    def loss(c: float) -> float:
        given = np.zeros((len(truth), CLASSES))
        for train, test in splits:
            mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
            model = LogisticRegression(C=c, max_iter=2000).fit((features[train] - mean) / deviation, truth[train])
            given[test] = model.predict_proba((features[test] - mean) / deviation)
        return float(-np.log(given[np.arange(len(truth)), truth]).mean())

    assert fitted.value == min(spec.grid, key=loss)
    assert min(fitted.trials, key=lambda trial: trial.log_loss).value == fitted.value


def test_tuning_many_rows_uses_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "TUNING_ROWS", 40)
    features, truth = clouds([100, 100, 1])
    fitted = fit.fit(find("logistic"), features, truth, fit.FitOptions(classes=CLASSES, tune=True))
    assert fitted.out_of_fold is not None
    assert fitted.out_of_fold.shape == (201, CLASSES)
    assert np.isnan(fitted.out_of_fold).sum() == CLASSES


@pytest.mark.parametrize("name", ["logistic", "linear-svm", "knn"])
@pytest.mark.parametrize("sizes", [[2] * 12, [2] * 11 + [1]])
def test_fit_classes_of_two_images_warns_of_nothing(name: str, sizes: list[int]) -> None:
    # Every warning of scikit-learn is an error here, such as that the classes might be a regression.
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    features = random.normal(0, 1, (len(truth), 6)).astype(np.float32)
    fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes=len(sizes), tune=True))
    assert fit.probabilities(fitted.pipeline, features, len(sizes)).shape == (len(truth), len(sizes))


def test_load_classifier_of_another_scikit_learn_leaves_the_warning_to_its_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, truth = clouds([10, 10, 10])
    fitted = fit.fit(find("knn"), features, truth, fit.FitOptions(classes=CLASSES, tune=False))
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "1.0.2")
        fit.save(fitted.pipeline, tmp_path / "classifier.skops")
    # The planted fault: without the filter, scikit-learn warns of a pickle, and a warning is an error here.
    with pytest.raises(InconsistentVersionWarning):
        skops.io.load(tmp_path / "classifier.skops", trusted=trusted_types())
    loaded = fit.load(tmp_path / "classifier.skops")
    np.testing.assert_array_equal(
        fit.probabilities(loaded, features, CLASSES), fit.probabilities(fitted.pipeline, features, CLASSES)
    )


def test_tuning_stops_at_the_time_limit() -> None:
    said: list[str] = []

    class Listener(type(fit.SILENT)):  # type: ignore[misc]
        def warn(self, message: str) -> None:
            said.append(message)

    features, truth = clouds([20, 20, 20])
    fitted = fit.fit(
        find("logistic"), features, truth, fit.FitOptions(classes=CLASSES, tune=True, seconds=1e-9), progress=Listener()
    )
    assert len(fitted.trials) == 1
    assert "tuning stopped after 1e-09 s with 1 of 10 values tried" in said[0]


def test_load_untrusted_type_is_refused_and_named(tmp_path: Path) -> None:
    features, truth = clouds([10, 10, 10])
    path = tmp_path / "classifier.skops"
    skops.io.dump(GaussianProcessClassifier().fit(features, truth), path)
    with pytest.raises(ModelError, match="contains types that no classifier of the catalog has"):
        fit.load(_with_type(path, "sklearn.gaussian_process._gpc", "GaussianProcessClassifier", "os", "system"))


@pytest.mark.parametrize("other", [GaussianNB(), {"predict_proba": 1}, make_pipeline(GaussianNB())], ids=str)
def test_load_type_that_only_skops_trusts_is_refused(other: object, tmp_path: Path) -> None:
    features, truth = clouds([10, 10, 10])
    if not isinstance(other, dict):
        other.fit(features, truth)  # type: ignore[attr-defined]
    skops.io.dump(other, tmp_path / "classifier.skops")
    assert skops.io.get_untrusted_types(file=tmp_path / "classifier.skops") == []
    with pytest.raises(ModelError, match="contains types that no classifier of the catalog has"):
        fit.load(tmp_path / "classifier.skops")


@pytest.mark.parametrize("spec", ROWS)
def test_estimators_list_matches_what_rows_build(spec: ClassifierSpec) -> None:
    built = spec.build(spec.default, 0, [(np.arange(3), np.arange(3))])
    assert type(built).__name__ in ESTIMATORS


def _with_type(path: Path, module: str, name: str, other_module: str, other_name: str) -> Path:
    """Rewrite a skops file so that it names another type."""
    target = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == "schema.json":
                schema = json.loads(data)
                schema["__module__"], schema["__class__"] = other_module, other_name
                data = json.dumps(schema).encode()
            copy.writestr(entry, data)
    path.write_bytes(target.getvalue())
    return path


def test_load_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.skops").write_bytes(b"PK not a zip")
    with pytest.raises(ModelError, match="could not be read as a zip file"):
        fit.load(tmp_path / "x.skops")


def test_trusted_types_are_fixed() -> None:
    from transfer_cli.catalog.classifiers import trusted_types

    assert trusted_types() == [
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance32",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    ]


def test_find_unknown_name_suggests_nearest() -> None:
    assert names()[0] == "logistic"
    assert names()[-1] == "none"
    with pytest.raises(UnknownNameError, match=r"Did you mean random-forest\?"):
        find("randomforest")
