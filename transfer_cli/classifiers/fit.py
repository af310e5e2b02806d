"""Fit a scikit-learn classifier on features: tuning by cross-validation, out-of-fold probabilities."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.multiclass import OneVsRestClassifier, _ConstantPredictor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from transfer_cli.catalog.classifiers import ESTIMATORS, ClassifierSpec, trusted_types
from transfer_cli.classifiers.folds import Groups, Truth, folds, single_rows, strata
from transfer_cli.classifiers.skops_file import check_classifier_file, set_own_settings, untrusted_type
from transfer_cli.errors import InputError, ModelError, RecipeError
from transfer_cli.io.reproducible_zip import make_reproducible
from transfer_cli.metrics.scores import epoch_metrics
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import counted

Features = NDArray[np.float32]

TUNING_ROWS = 4000
"""Tuning uses a fixed sample of at most this many rows, which bounds its time."""


@dataclass(frozen=True)
class Trial:
    """One value of the tuned parameter, with its out-of-fold metrics."""

    value: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class FitOptions:
    """How a classifier is fitted.

    Attributes
    ----------
    classes : int
        Number of columns of the probabilities.
    tune : bool
        Whether to choose the regularisation strength by the out-of-fold log loss.
    seconds : float
        Time limit for tuning: no further value is tried after it.
    out_of_fold : bool
        Whether to predict every row by classifiers that did not see it.
    seed : int
    weights : ndarray of shape (classes,), optional
        Weight of the rows of each class.
    """

    classes: int
    tune: bool
    seconds: float = 60
    out_of_fold: bool = True
    seed: int = 0
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier, and how its parameter was chosen.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline
    value : float
        The tuned parameter.
    trials : tuple of Trial
        In the order they were tried; empty without tuning.
    out_of_fold : ndarray of shape (n, k), float32, or None
        Probabilities of each training row by classifiers that saw neither it nor its group. Rows of a class with a
        single image, or a single group, are NaN.
    """

    pipeline: Any
    value: float
    trials: tuple[Trial, ...]
    out_of_fold: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Rows:
    features: Features
    truth: Truth
    groups: Groups | None

    def take(self, rows: NDArray[np.int64]) -> _Rows:
        return _Rows(self.features[rows], self.truth[rows], None if self.groups is None else self.groups[rows])


def fit(
    spec: ClassifierSpec,
    features: Features,
    truth: Truth,
    options: FitOptions,
    *,
    groups: Groups | None = None,
    progress: Progress = SILENT,
) -> Fitted:
    """Fit a classifier of the catalog.

    Parameters
    ----------
    spec : ClassifierSpec
    features : ndarray of shape (n, width), float32
    truth : ndarray of shape (n,) or (n, classes), int
        Class of each row, or the indicator matrix of its labels (one-vs-rest).
    options : FitOptions
    groups : ndarray of shape (n,), int, optional
        Group of each row: no row is scored by a classifier that saw another row of its group.
    progress : Progress

    Raises
    ------
    InputError
        If there are too few images for this classifier.
    """
    # Beside other work, threads of linear algebra wait for each other: 30 times as long for 1000 images.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(spec, _Rows(features, truth, groups), options, progress)


def _fit(spec: ClassifierSpec, rows: _Rows, options: FitOptions, progress: Progress) -> Fitted:
    truth = rows.truth
    if spec.is_discriminant and truth.ndim == 1:
        return _fit_discriminant(spec, rows, options, progress)
    if _lacks_variance(spec, truth):
        raise _cannot_be_trained(spec, truth, "it needs at least one class with two images, to estimate their variance")
    trials: tuple[Trial, ...] = ()
    value, out_of_fold = spec.default, None
    with _one_convergence_warning(progress):
        if options.tune and spec.grid:
            sample = rows.take(_tuning_rows(truth, options.seed))
            if not single_rows(sample.truth, sample.groups).all():
                value, trials, tuned = _search(spec, sample, options, progress)
                out_of_fold = tuned if len(sample.truth) == len(truth) else None
        if options.out_of_fold and out_of_fold is None:
            out_of_fold = _out_of_fold(spec, rows, value, options)
        pipeline = _fit_pipeline(spec, rows, value, options)
    return Fitted(pipeline, value, trials, out_of_fold if options.out_of_fold else None)


def probabilities(pipeline: Any, features: Features, classes: int) -> NDArray[np.float32]:
    """Return the probabilities of all classes, float32 of shape (n, classes); 0 for classes without training rows."""
    result = np.zeros((len(features), classes), np.float32)
    with _threads_only():
        predicted = pipeline.predict_proba(features)
    if predicted.shape[1] > classes:
        # For a single label scikit-learn returns the probability of its absence, too.
        return np.asarray(predicted[:, 1:], np.float32)
    result[:, pipeline.classes_] = predicted
    return result


def save(pipeline: Any, path: Path) -> None:
    """Write a fitted classifier with skops, never as a pickle; equal classifiers give equal bytes."""
    import skops.io

    skops.io.dump(pipeline, path)
    make_reproducible(path)


def load(path: Path) -> Any:
    """Read a classifier that consists only of types of a fixed list.

    Raises
    ------
    ModelError
        If it has any other type; nothing of it is run.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

    check_classifier_file(path)
    try:
        with warnings.catch_warnings():
            # `inference.load` compares the versions of a bundle, and reports a difference in plain words.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            loaded = skops.io.load(path, trusted=trusted_types())
    except (UntrustedTypesFoundException, UnsupportedTypeException) as error:
        raise untrusted_type(path, [str(error)]) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise ModelError(f"Cannot read the classifier in {path}: {error}.") from error
    if not _is_in_catalog(loaded):
        raise untrusted_type(path, [type(loaded).__name__])
    set_own_settings(loaded)
    return loaded


def _threads_only() -> Any:
    """Return a context in which scikit-learn starts threads, never processes.

    A process would start a second Python, which imports much again and may find other modules in the current folder.
    The trees of an ensemble release Python's lock, so threads are as fast.
    """
    return joblib.parallel_config(backend="threading")


def _is_in_catalog(loaded: Any) -> bool:
    """Return whether this is a pipeline as `fit` makes it; the list of types alone does not tell."""
    if type(loaded) is not Pipeline:
        return False
    *before, last = (step for _, step in loaded.steps)
    estimators = [last.estimator, *last.estimators_] if type(last) is OneVsRestClassifier else [last]
    known = all(type(each).__name__ in ESTIMATORS or type(each) is _ConstantPredictor for each in estimators)
    return known and all(type(step) is StandardScaler for step in before)


def _fit_pipeline(spec: ClassifierSpec, rows: _Rows, value: float, options: FitOptions) -> Any:
    weights, truth = options.weights, rows.truth
    splits = folds(truth, spec.folds, options.seed, rows.groups)
    if any(_lacks_variance(spec, truth[train]) for train, _ in splits):
        # Too few images to hold any out: the scores are calibrated on the images that it is trained on.
        splits = [(np.arange(len(truth)), np.arange(len(truth)))]
    one = spec.build(value, options.seed, splits)
    classifier = one if truth.ndim == 1 else OneVsRestClassifier(one)
    pipeline = make_pipeline(*([StandardScaler()] if spec.standardise else []), classifier)
    if weights is not None and not has_fit_parameter(getattr(one, "estimator", one), "sample_weight"):
        raise RecipeError(
            f"{spec.name} does not support class weights.",
            hint="Use --set balance.method=logit-adjustment (any classifier), or --classifier logistic.",
        )
    arguments = {} if weights is None else {f"{pipeline.steps[-1][0]}__sample_weight": weights[truth]}
    try:
        with _threads_only():
            pipeline.fit(rows.features, truth, **arguments)
    except ValueError as error:
        raise _cannot_be_trained(spec, truth, str(error)) from error
    for each in [one, *(classifier.estimators_ if truth.ndim == 2 else [])]:
        if hasattr(each, "cv"):
            # The folds were needed for calibration only; a bundle should not hold row numbers of training images.
            each.set_params(cv=None)
    return pipeline


def _fit_discriminant(spec: ClassifierSpec, rows: _Rows, options: FitOptions, progress: Progress) -> Fitted:
    """Fit the discriminant analysis: one pass over the folds gives the scores for all values of the shrinkage."""
    from scipy.special import softmax

    from transfer_cli.classifiers import discriminant

    classes, weights = options.classes, options.weights
    sample = rows.take(_tuning_rows(rows.truth, options.seed))
    is_whole = len(sample.truth) == len(rows.truth)
    values = spec.grid if options.tune else (spec.default,)

    def held_out(some: _Rows, shrinkages: Sequence[float]) -> dict[float, NDArray[np.float64]]:
        splits = folds(some.truth, spec.folds, options.seed, some.groups)
        scores = discriminant.scores_of_folds(some.features, some.truth, splits, shrinkages, classes, weights)
        single = single_rows(some.truth, some.groups)
        for each in scores.values():
            each[single] = np.nan
        return scores

    with progress.track(f"{'tuning' if options.tune else 'calibrating'} {spec.name} by cross-validation", None):
        scores = held_out(sample, values)
    scored = ~np.isnan(scores[values[0]][:, 0])
    value, trials = spec.default, []
    temperature = discriminant.cautious_temperature(rows.features.shape[1], value)
    if scored.any():
        best = np.inf
        for each in values:
            temperature_of, loss = discriminant.best_temperature(scores[each][scored], sample.truth[scored])
            accuracy = float((scores[each][scored].argmax(axis=1) == sample.truth[scored]).mean())
            trials.append(Trial(each, loss, accuracy))
            if loss < best:
                best, value, temperature = loss, each, temperature_of
        if options.tune:
            progress.note(f"{spec.name}: {spec.parameter} = {value:g}, the best of {len(values)} values tried")
    out_of_fold = None
    if options.out_of_fold:
        final = scores[value] if is_whole else held_out(rows, [value])[value]
        out_of_fold = np.asarray(softmax(final / temperature, axis=1), np.float32)
    with progress.track(f"fitting {spec.name}", None):
        pipeline = discriminant.Discriminant.of(rows.features, rows.truth, weights).pipeline(value, temperature)
    return Fitted(pipeline, value, tuple(trials) if options.tune else (), out_of_fold)


def _lacks_variance(spec: ClassifierSpec, truth: Truth) -> bool:
    """Return whether a classifier cannot estimate the variance within classes, since there is one image of each."""
    return spec.needs_variance and len(truth) <= (len(np.unique(truth)) if truth.ndim == 1 else 2)


def _cannot_be_trained(spec: ClassifierSpec, truth: Truth, reason: str) -> InputError:
    classes = len(np.unique(truth)) if truth.ndim == 1 else truth.shape[1]
    return InputError(
        f"{spec.name} cannot be trained on {counted(len(truth), 'image')} of "
        f"{counted(classes, 'class')}: {reason.rstrip('.')}.",
        hint="Use --classifier logistic, or add images.",
    )


def _out_of_fold(spec: ClassifierSpec, rows: _Rows, value: float, options: FitOptions) -> NDArray[np.float32]:
    truth, classes = rows.truth, options.classes
    result = np.full((len(truth), classes), np.nan, np.float32)
    for train, test in folds(truth, spec.folds, options.seed, rows.groups):
        # If groups have several classes each, a fold may hold all rows of a class; these are not scored.
        scored = test[np.isin(truth[test], truth[train])] if truth.ndim == 1 else test
        is_one_class = (truth.ndim == 1) == (classes > 1) and len(np.unique(truth[train])) < 2
        if not len(scored) or is_one_class or _lacks_variance(spec, truth[train]):
            continue
        pipeline = _fit_pipeline(spec, rows.take(train), value, options)
        result[scored] = probabilities(pipeline, rows.features[scored], classes)
    result[single_rows(truth, rows.groups)] = np.nan
    return result


def _search(
    spec: ClassifierSpec, rows: _Rows, options: FitOptions, progress: Progress
) -> tuple[float, tuple[Trial, ...], NDArray[np.float32]]:
    """Search the grid from the default value, first towards less regularisation, then towards more.

    The log loss has one minimum over the regularisation strength, so most of the grid need not be tried.
    """
    end = time.monotonic() + options.seconds
    tried: dict[float, tuple[Trial, NDArray[np.float32]]] = {}

    def loss(index: int) -> float:
        value = spec.grid[index]
        if value not in tried:
            outputs = _out_of_fold(spec, rows, value, options)
            scored = ~np.isnan(outputs[:, 0])
            metrics = epoch_metrics(rows.truth[scored], outputs[scored])
            tried[value] = Trial(value, metrics["log_loss"], metrics["accuracy"]), outputs
        return tried[value][0].log_loss

    best = min(range(len(spec.grid)), key=lambda index: abs(np.log(spec.grid[index] / spec.default)))
    with progress.track(f"tuning {spec.name} by cross-validation", None):
        loss(best)
        for step in (1, -1):
            while 0 <= best + step < len(spec.grid):
                if time.monotonic() > end:
                    progress.warn(
                        f"tuning stopped after {options.seconds:g} s with {len(tried)} of {len(spec.grid)} values "
                        "tried; another run may choose another value (--set classifier.tune_seconds=...)"
                    )
                    break
                if loss(best + step) >= loss(best):
                    break
                best += step
    value = spec.grid[best]
    progress.note(f"{spec.name}: {spec.parameter} = {value:g}, the best of {len(tried)} values tried")
    return value, tuple(trial for trial, _ in tried.values()), tried[value][1]


def _tuning_rows(truth: Truth, seed: int) -> NDArray[np.int64]:
    if len(truth) <= TUNING_ROWS:
        return np.arange(len(truth))
    selected = np.random.default_rng(seed).permutation(len(truth))[:TUNING_ROWS]
    # Every class needs a row, so one of each is added.
    _, first = np.unique(strata(truth), return_index=True)
    return np.union1d(selected, first)


@contextmanager
def _one_convergence_warning(progress: Progress) -> Iterator[None]:
    """Replace scikit-learn's warning for every fit that did not converge by one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        # The covariance of a single image is zero, and LDA uses it as such.
        warnings.filterwarnings("ignore", message="Only one sample available")
        # A constant feature, as random networks have, carries no information for the nearest centroid.
        warnings.filterwarnings("ignore", message="self.within_class_std_dev_ has at least 1 zero")
        # A label that all or none of the images of a fold have gives a constant classifier.
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        # Classes of one or two images are no regression, and folds with fewer of them than usual are scored as such.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than")
        warnings.filterwarnings("ignore", message="The least populated class in y has only")
        yield
    unconverged = [warning for warning in caught if issubclass(warning.category, ConvergenceWarning)]
    for warning in caught:
        if warning not in unconverged:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if unconverged:
        progress.warn("the classifier did not converge in some fits; its metrics may be slightly too low")
