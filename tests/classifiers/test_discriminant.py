"""Shrunk discriminant analysis: equal to scikit-learn's, chosen and calibrated on rows that were held out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from transfer_cli.catalog.classifiers import find
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.discriminant import Discriminant, best_temperature
from transfer_cli.classifiers.linear import Linear


def clouds(
    count: int, classes: int, width: int, seed: int = 0, noise: float = 2
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return overlapping classes with correlated features of different scales."""
    random = np.random.default_rng(seed)
    truth = np.sort(random.integers(0, classes, count))
    mixing = random.normal(size=(width, width))
    means = random.normal(size=(classes, width))
    features = (means[truth] + noise * random.normal(size=(count, width))) @ mixing * random.uniform(0.1, 9, width) + 3
    return features.astype(np.float32), truth


@pytest.mark.parametrize("count", [25, 90], ids=["fewer rows than features", "more rows"])
@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("classes", [2, 4])
def test_weights_equal_those_of_scikit_learn(count: int, shrinkage: float, classes: int) -> None:
    """Scikit-learn shrinks each class's covariance towards its own mean variance, after standardising it."""
    features, truth = clouds(count, classes, 40)
    pipeline = Discriminant.of(features, truth).pipeline(shrinkage, 1.0)
    given = fit.probabilities(pipeline, features, classes)
    standard = StandardScaler().fit_transform(features).astype(np.float64)
    means = np.stack([standard[truth == each].mean(axis=0) for each in range(classes)])
    deviations = standard - means[truth]
    covariance = deviations.T @ deviations / count
    diagonal = np.eye(40) * np.trace(covariance) / 40
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * diagonal)
    scores = standard @ inverse @ means.T - np.einsum("ci,ij,cj->c", means, inverse, means) / 2
    expected = softmax(scores + np.log(np.bincount(truth) / count), axis=1)
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_without_scaling_of_classes_it_is_scikit_learns() -> None:
    """With one covariance for all classes, as large classes of one shape have, both agree."""
    random = np.random.default_rng(1)
    truth = np.repeat(np.arange(3), 20_000)
    features = (random.normal(size=(3, 6))[truth] + random.normal(size=(60_000, 6))).astype(np.float32)
    given = fit.probabilities(Discriminant.of(features, truth).pipeline(0.3, 1.0), features[::100], 3)
    standard = StandardScaler().fit(features)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(standard.transform(features), truth)
    np.testing.assert_allclose(given, theirs.predict_proba(standard.transform(features[::100])), atol=0.01)


@pytest.mark.parametrize("classes", [2, 5])
def test_fit_folds_into_one_matrix(classes: int) -> None:
    features, truth = clouds(200, classes, 30)
    fitted = fit.fit(find("lda"), features, truth, fit.FitOptions(classes, tune=True))
    linear = Linear.fold(fitted.pipeline, classes)
    np.testing.assert_allclose(
        linear.probabilities(features), fit.probabilities(fitted.pipeline, features, classes), atol=1e-5
    )


def test_fit_chooses_the_shrinkage_and_is_calibrated() -> None:
    features, truth = clouds(150, 3, 120, noise=6)
    fitted = fit.fit(find("lda"), features, truth, fit.FitOptions(3, tune=True))
    best = min(fitted.trials, key=lambda trial: trial.log_loss)
    assert fitted.value == best.value
    assert [trial.value for trial in fitted.trials] == list(find("lda").grid)
    assert fitted.out_of_fold is not None
    logarithms = np.log(np.maximum(fitted.out_of_fold, 1e-12))
    temperature, loss = best_temperature(logarithms, truth)
    assert temperature == pytest.approx(1, abs=0.05)
    assert loss == pytest.approx(best.log_loss, abs=1e-2)
    # The twin: plain posteriors of as many features as images are far too sure.
    plain = Discriminant.of(features[::2], truth[::2]).scores(features[1::2], fitted.value, 3)
    assert best_temperature(plain, truth[1::2])[0] > 2


def test_fit_classes_that_are_far_apart_are_not_certain() -> None:
    features, truth = clouds(60, 3, 20, noise=0.01)
    fitted = fit.fit(find("lda"), features, truth, fit.FitOptions(3, tune=True))
    assert fitted.out_of_fold is not None
    assert (fitted.out_of_fold.argmax(axis=1) == truth).all()
    assert 0.9 < fitted.out_of_fold.max(axis=1).mean() < 0.9999


def test_fit_weights_count_as_repeated_rows() -> None:
    features, truth = clouds(60, 2, 5)
    weights = np.array([1.0, 3.0])
    again = np.repeat(np.arange(60), np.where(truth == 1, 3, 1))
    given = Discriminant.of(features, truth, weights)
    repeated = Discriminant.of(features[again], truth[again])
    np.testing.assert_allclose(np.exp(given.log_priors), np.exp(repeated.log_priors))
    assert given.log_priors[1] > Discriminant.of(features, truth).log_priors[1]


def test_fit_holds_out_groups() -> None:
    """Copies of a row are in one group: noise scores at the level of chance, as without copies."""
    random = np.random.default_rng(0)
    noise, truth = random.normal(size=(60, 20)).astype(np.float32), random.integers(0, 2, 60)
    copies, labels, groups = np.repeat(noise, 4, axis=0), np.repeat(truth, 4), np.repeat(np.arange(60), 4)

    def accuracy(grouped: bool) -> float:
        options = fit.FitOptions(2, tune=True)
        fitted = fit.fit(find("lda"), copies, labels, options, groups=groups if grouped else None)
        assert fitted.out_of_fold is not None
        return float((fitted.out_of_fold.argmax(axis=1) == labels).mean())

    assert accuracy(grouped=True) < 0.65
    assert accuracy(grouped=False) > 0.7


@pytest.mark.parametrize("counts", [[1, 1, 1], [1, 3, 1], [2, 2, 2]], ids=str)
def test_fit_few_images_are_classified(counts: list[int]) -> None:
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), counts)
    features = (10 * np.eye(3, 300)[truth] + random.normal(size=(len(truth), 300))).astype(np.float32)
    fitted = fit.fit(find("lda"), features, truth, fit.FitOptions(3, tune=True))
    given = fit.probabilities(fitted.pipeline, features, 3)
    assert (given.argmax(axis=1) == truth).all()
    assert np.isfinite(given).all()
    if max(counts) == 1:
        # No image could be held out.
        assert given.max() < 0.9
