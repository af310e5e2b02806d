"""Features become a scikit-learn classifier: folds, regularisation, probabilities."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier, _ConstantPredictor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from transfer_cli.catalog.classifiers import ESTIMATORS, ClassifierSpec, trusted_types
from transfer_cli.classifiers.folds import Groups, Truth, dealt_by, folds, single_rows
from transfer_cli.classifiers.skops_file import check_classifier_file, untrusted_type
from transfer_cli.errors import InputError, ModelError, RecipeError
from transfer_cli.metrics.scores import epoch_metrics
from transfer_cli.progress import SILENT, Progress

Features = NDArray[np.float32]

TUNING_ROWS = 4000
"""Tuning looks at no more rows than these, a fixed choice of them, so that its time is bounded by construction."""


@dataclass(frozen=True)
class Trial:
    """One value of the tuned parameter and what it reached out of fold."""

    value: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier and how it came about.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline
    value : float
        Of the row's parameter.
    trials : tuple of Trial
        In the order they were tried; empty where nothing was tuned.
    out_of_fold : ndarray of shape (n, k), float32, or None
        Probabilities of each training row by classifiers that saw neither it nor its relatives. Rows of a class with
        a single picture, or a single group, are NaN: no classifier could know the class without it.
    """

    pipeline: Any
    value: float
    trials: tuple[Trial, ...]
    out_of_fold: NDArray[np.float32] | None


def fit(
    spec: ClassifierSpec,
    features: Features,
    truth: Truth,
    *,
    classes: int,
    tune: bool,
    seconds: float = 60,
    out_of_fold: bool = True,
    seed: int = 0,
    weights: NDArray[np.float64] | None = None,
    groups: Groups | None = None,
    progress: Progress = SILENT,
) -> Fitted:
    """Fit a classifier of the catalog.

    Parameters
    ----------
    spec : ClassifierSpec
    features : ndarray of shape (n, width), float32
    truth : ndarray of shape (n,) or (n, classes), int
        Column of each row's class, or the indicator matrix of its labels, of which each is then learnt against the
        rest by a classifier of its own.
    classes : int
        How many columns probabilities have.
    tune : bool
        Choose the row's parameter by the out-of-fold log loss.
    seconds : float
        No further value is tried after these.
    out_of_fold : bool
        Predict every row by classifiers that did not see it.
    seed : int
    weights : ndarray of shape (classes,), optional
        What a row of each class counts, where the classifier can take that.
    groups : ndarray of shape (n,), int, optional
        Rows with the same number are relatives (see groups.kin): none is scored by a classifier that saw another.
    progress : Progress
    """
    value = spec.default
    trials: tuple[Trial, ...] = ()
    kept: dict[float, NDArray[np.float32]] = {}
    with _unfinished_said_once(progress):
        rows = _tuning_rows(truth, seed)
        of_rows = None if groups is None else groups[rows]
        if tune and spec.grid and not single_rows(truth[rows], of_rows).all():

            def predict(value: float) -> NDArray[np.float32]:
                return _out_of_fold(spec, features[rows], truth[rows], value, classes, seed, weights, of_rows)

            value, trials, probabilities = _search(spec, predict, truth[rows], seconds, progress)
            if len(rows) == len(truth):
                kept[value] = probabilities
        if out_of_fold and value not in kept:
            kept[value] = _out_of_fold(spec, features, truth, value, classes, seed, weights, groups)
        pipeline = _fit_one(spec, features, truth, value, seed, weights, groups)
    return Fitted(pipeline, value, trials, kept.get(value) if out_of_fold else None)


def probabilities(pipeline: Any, features: Features, classes: int) -> NDArray[np.float32]:
    """Return the probabilities of every class, float32 of shape (n, classes); 0 for one that was not learnt."""
    given = pipeline.predict_proba(features)
    result = np.zeros((len(features), classes), np.float32)
    result[:, pipeline.classes_] = given
    return result


def save(pipeline: Any, path: Path) -> None:
    """Write a fitted classifier with skops, never as a pickle."""
    import skops.io

    skops.io.dump(pipeline, path)


def load(path: Path) -> Any:
    """Read a classifier that consists of nothing but types of the fixed list.

    Raises
    ------
    ModelError
        When it has any other type; nothing of it is run.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

    check_classifier_file(path)
    try:
        loaded = skops.io.load(path, trusted=trusted_types())
    except (UntrustedTypesFoundException, UnsupportedTypeException) as error:
        raise untrusted_type(path, [str(error)]) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise ModelError(f"{path} is not a classifier that can be read: {error}.") from error
    if not _is_of_the_catalog(loaded):
        raise untrusted_type(path, [type(loaded).__name__])
    return loaded


def _is_of_the_catalog(loaded: Any) -> bool:
    """Return whether this is a pipeline as `fit` makes it: any class of the list could be in any place."""
    if type(loaded) is not Pipeline:
        return False
    *before, last = (step for _, step in loaded.steps)
    several = [last.estimator, *last.estimators_] if type(last) is OneVsRestClassifier else [last]
    known = all(type(each).__name__ in ESTIMATORS or type(each) is _ConstantPredictor for each in several)
    return known and all(type(step) is StandardScaler for step in before)


def _fit_one(
    spec: ClassifierSpec,
    features: Features,
    truth: Truth,
    value: float,
    seed: int,
    weights: NDArray[np.float64] | None = None,
    groups: Groups | None = None,
) -> Any:
    splits = folds(truth, spec.folds, seed, groups)
    one = spec.build(value, seed, splits)
    classifier = one if truth.ndim == 1 else OneVsRestClassifier(one)
    steps = [StandardScaler(), classifier] if spec.standardise else [classifier]
    pipeline = make_pipeline(*steps)
    if weights is not None and not has_fit_parameter(getattr(one, "estimator", one), "sample_weight"):
        raise RecipeError(
            f"{spec.name} cannot count pictures of one class more than those of another.",
            hint="Take --set balance.method=logit-adjustment, which fits every classifier, or --classifier logistic.",
        )
    counted = {} if weights is None else {f"{pipeline.steps[-1][0]}__sample_weight": weights[truth]}
    try:
        pipeline.fit(features, truth, **counted)
    except ValueError as error:
        classes = len(np.unique(truth)) if truth.ndim == 1 else truth.shape[1]
        raise InputError(
            f"{spec.name} cannot learn from {len(truth)} pictures of {classes} classes: {error}",
            hint="Take --classifier logistic, which can, or add pictures.",
        ) from error
    for each in [one, *(classifier.estimators_ if truth.ndim == 2 else [])]:
        if hasattr(each, "cv"):
            # The folds were needed to calibrate; a bundle has no use for row numbers of the training pictures.
            each.set_params(cv=None)
    return pipeline


def _out_of_fold(
    spec: ClassifierSpec,
    features: Features,
    truth: Truth,
    value: float,
    classes: int,
    seed: int,
    weights: NDArray[np.float64] | None = None,
    groups: Groups | None = None,
) -> NDArray[np.float32]:
    result = np.full((len(truth), classes), np.nan, np.float32)
    for train, test in folds(truth, spec.folds, seed, groups):
        # Where groups have several classes each, a fold may hold all of a class: its rows say nothing.
        learnt = np.isin(truth[test], truth[train]) if truth.ndim == 1 else np.ones(len(test), bool)
        if not learnt.any() or (truth.ndim == 1 and classes > 1 and len(np.unique(truth[train])) < 2):
            continue
        of_train = None if groups is None else groups[train]
        pipeline = _fit_one(spec, features[train], truth[train], value, seed, weights, of_train)
        result[test[learnt]] = probabilities(pipeline, features[test[learnt]], classes)
    result[single_rows(truth, groups)] = np.nan
    return result


def _search(
    spec: ClassifierSpec,
    predict: Callable[[float], NDArray[np.float32]],
    truth: Truth,
    seconds: float,
    progress: Progress,
) -> tuple[float, tuple[Trial, ...], NDArray[np.float32]]:
    """Walk the grid downhill from the default, first to less regularisation, then to more.

    Log loss over the strength of a regularisation has one valley, so that most of a grid need not be tried.
    """
    end = time.monotonic() + seconds
    tried: dict[float, tuple[Trial, NDArray[np.float32]]] = {}

    def loss(index: int) -> float:
        value = spec.grid[index]
        if value not in tried:
            with progress.track(f"{spec.name}, {spec.parameter} = {value:g}", None):
                given = predict(value)
            scored = ~np.isnan(given[:, 0])
            figures = epoch_metrics(truth[scored], given[scored])
            tried[value] = Trial(value, figures["log_loss"], figures["accuracy"]), given
        return tried[value][0].log_loss

    best = min(range(len(spec.grid)), key=lambda index: abs(np.log(spec.grid[index] / spec.default)))
    loss(best)
    for step in (1, -1):
        while 0 <= best + step < len(spec.grid):
            if time.monotonic() > end:
                progress.warn(
                    f"tuning stopped after {seconds:g} s with {len(tried)} of {len(spec.grid)} values tried; "
                    "another run may choose another value (--set classifier.tune_seconds=...)"
                )
                break
            if loss(best + step) >= loss(best):
                break
            best += step
    value = spec.grid[best]
    return value, tuple(trial for trial, _ in tried.values()), tried[value][1]


def _tuning_rows(truth: Truth, seed: int) -> NDArray[np.int64]:
    if len(truth) <= TUNING_ROWS:
        return np.arange(len(truth))
    chosen = np.random.default_rng(seed).permutation(len(truth))[:TUNING_ROWS]
    # A class that the choice missed would make its rows unpredictable: one row of each comes along.
    _, first = np.unique(dealt_by(truth), return_index=True)
    return np.union1d(chosen, first)


@contextmanager
def _unfinished_said_once(progress: Progress) -> Iterator[None]:
    """Turn scikit-learn's warning of every fit that did not converge into one line."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ConvergenceWarning)
        # The covariance of one picture is zero, which is what the discriminants then take it for.
        warnings.filterwarnings("ignore", message="Only one sample available")
        # A feature that is the same for all, as of a network without weights, tells the nearest centroid nothing.
        warnings.filterwarnings("ignore", message="self.within_class_std_dev_ has at least 1 zero")
        # A label that all pictures of a fold have, or none: its classifier says so of every picture.
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        yield
    unfinished = [warning for warning in seen if issubclass(warning.category, ConvergenceWarning)]
    for warning in seen:
        if warning not in unfinished:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if unfinished:
        progress.warn("the classifier did not converge in some fits; its scores may be a little low")
