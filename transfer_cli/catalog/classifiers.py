"""Classifiers of `extract`: scikit-learn methods that predict probabilities.

Methods without probabilities are calibrated on out-of-fold scores: support vector machines by Platt's sigmoid (Platt
1999), the nearest centroid and linear discriminant analysis by a fitted temperature of the softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from transfer_cli.catalog.tasks import MULTI_LABEL
from transfer_cli.errors import UnknownNameError

DEFAULT = "lda"
"""The classifier of folders with one label per image; it was better on every folder of benchmarks/zoo.py."""
DEFAULT_OF_LABELS = "logistic"
"""The classifier of folders with several labels per image."""
NONE = "none"
"""Extract features only, without a classifier."""

Splits = list[tuple[Any, Any]]
"""Folds as pairs of integer arrays: rows to train on and rows to score."""


@dataclass(frozen=True)
class ClassifierSpec:
    """A classifier.

    Attributes
    ----------
    name : str
    build : callable
        ``build(value, seed, splits)`` returns an unfitted scikit-learn classifier; `value` is the tuned parameter,
        `splits` are the folds for calibration.
    parameter : str
        Name of the tuned parameter; empty if nothing is tuned.
    grid : tuple of float
        Values of the parameter, from the strongest regularisation to the weakest.
    default : float
        Value without tuning.
    standardise : bool
        Whether features are scaled to mean 0 and standard deviation 1.
    tuned : bool
        Whether it is fast enough to be tuned unless the recipe says otherwise.
    folds : int
        Number of cross-validation folds; fewer for slow methods.
    linear : bool
        Whether its probabilities are the softmax of a linear function of the features.
    trusted : tuple of str
        Types that its file contains beside those that skops trusts anyway.
    needs_variance : bool
        Whether it estimates the variance within classes, which needs more images than classes.
    is_discriminant : bool
        Whether `classifiers.discriminant` fits it, unless images have several labels.
    """

    name: str
    build: Callable[[float, int, Splits], Any]
    parameter: str = ""
    grid: tuple[float, ...] = ()
    default: float = 0.0
    standardise: bool = True
    tuned: bool = True
    folds: int = 5
    linear: bool = False
    trusted: tuple[str, ...] = ()
    needs_variance: bool = False
    is_discriminant: bool = False


ESTIMATORS = frozenset(
    {
        "AdaBoostClassifier",
        "BaggingClassifier",
        "CalibratedClassifierCV",
        "ExtraTreesClassifier",
        "HistGradientBoostingClassifier",
        "KNeighborsClassifier",
        "LinearDiscriminantAnalysis",
        "LogisticRegression",
        "MLPClassifier",
        "RandomForestClassifier",
    }
)
"""Class names that the rows build. The classifier in a bundle must be one of these; a fixed list, for safety."""


def default(task: str) -> str:
    """Return the name of the default classifier of a task."""
    return DEFAULT_OF_LABELS if task == MULTI_LABEL else DEFAULT


def find(name: str) -> ClassifierSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    if name not in CLASSIFIERS:
        raise UnknownNameError.of("classifier", name, names(), f"Expected one of {', '.join(names())}.")
    return CLASSIFIERS[name]


def names() -> list[str]:
    """Return every name that `--classifier` accepts."""
    return [*CLASSIFIERS, NONE]


def trusted_types() -> list[str]:
    """Return the fixed list of types that the classifier in a bundle may contain."""
    # A label of a multi-label task that all or no images have.
    of_labels = {"sklearn.multiclass._ConstantPredictor"}
    return sorted(of_labels.union(*(spec.trusted for spec in CLASSIFIERS.values())))


def _logistic(c: float, seed: int, splits: Splits) -> Any:
    from sklearn.linear_model import LogisticRegression

    # For hundreds of features and thousands of rows, newton-cg reaches the optimum of lbfgs in a tenth of the time.
    return LogisticRegression(C=c, solver="newton-cg", max_iter=500)


def _linear_svm(c: float, seed: int, splits: Splits) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=c, max_iter=20_000, random_state=seed)
    return CalibratedClassifierCV(machine, cv=splits, ensemble=False)


def _rbf_svm(c: float, seed: int, splits: Splits) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return CalibratedClassifierCV(SVC(C=c, random_state=seed), cv=splits, ensemble=False)


def _knn(neighbours: float, seed: int, splits: Splits) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    smallest = min(len(train) for train, _ in splits)
    return KNeighborsClassifier(n_neighbors=min(int(neighbours), smallest), weights="distance")


def _nearest_centroid(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.neighbors import NearestCentroid

    return CalibratedClassifierCV(NearestCentroid(), method="temperature", cv=splits, ensemble=False)


def _lda(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=value)


def _random_forest(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=300, n_jobs=-1, random_state=seed)


def _extra_trees(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(n_estimators=300, n_jobs=-1, random_state=seed)


def _bagging(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.ensemble import BaggingClassifier
    from sklearn.tree import DecisionTreeClassifier

    return BaggingClassifier(DecisionTreeClassifier(), n_estimators=30, n_jobs=-1, random_state=seed)


def _adaboost(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    return AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=100, random_state=seed)


def _gradient_boosting(value: float, seed: int, splits: Splits) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60, l2_regularization=1.0, max_features=0.3, early_stopping=False, random_state=seed
    )


def _mlp(alpha: float, seed: int, splits: Splits) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((256,), alpha=alpha, max_iter=300, random_state=seed)


_TREE = "sklearn.tree._tree.Tree"
_CALIBRATED = "sklearn.calibration._CalibratedClassifier"
_SIGMOID = (_CALIBRATED, "sklearn.calibration._SigmoidCalibration")
_SHRINKAGES = (0.95, 0.85, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05)
_C = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)

_slow = partial(ClassifierSpec, tuned=False, folds=3)
_trees = partial(_slow, standardise=False, trusted=(_TREE,))

_ROWS = (
    ClassifierSpec("logistic", _logistic, "C", _C, 1e-2, linear=True),
    ClassifierSpec("linear-svm", _linear_svm, "C", _C[:7], 1e-3, trusted=_SIGMOID),
    _slow("rbf-svm", _rbf_svm, "C", (0.3, 1.0, 3.0, 10.0, 30.0), 3.0, trusted=_SIGMOID),
    ClassifierSpec(
        "knn",
        _knn,
        "neighbours",
        (50, 30, 20, 15, 10, 5, 3, 1),
        10,
        trusted=(
            "sklearn.metrics._dist_metrics.EuclideanDistance32",
            "sklearn.metrics._dist_metrics.EuclideanDistance64",
            "sklearn.neighbors._ball_tree.BallTree",
            "sklearn.neighbors._kd_tree.KDTree",
        ),
    ),
    ClassifierSpec(
        "nearest-centroid",
        _nearest_centroid,
        trusted=(_CALIBRATED, "sklearn.calibration._TemperatureScaling"),
        needs_variance=True,
    ),
    ClassifierSpec("lda", _lda, "shrinkage", _SHRINKAGES, 0.5, linear=True, needs_variance=True, is_discriminant=True),
    _trees("random-forest", _random_forest),
    _trees("extra-trees", _extra_trees),
    _trees("bagging", _bagging),
    _trees("adaboost", _adaboost),
    _trees(
        "gradient-boosting",
        _gradient_boosting,
        trusted=("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
    ),
    _slow(
        "mlp",
        _mlp,
        "alpha",
        (10.0, 1.0, 0.1, 1e-2, 1e-3),
        1.0,
        trusted=("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",),
    ),
)
CLASSIFIERS: Mapping[str, ClassifierSpec] = {row.name: row for row in _ROWS}
