"""The classifiers of `extract`, one row each: scikit-learn methods that give probabilities.

Methods without probabilities of their own get them by calibration on out-of-fold scores: Platt's sigmoid for the
support vector machines (Platt 1999), a fitted temperature for the nearest centroid, whose probabilities are
a softmax over squared distances. Linear discriminants use Ledoit-Wolf shrinkage, since features are often as many
as pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transfer_cli.errors import UnknownNameError

NONE = "none"
"""The word for features only, without a classifier."""

Splits = list[tuple[Any, Any]]
"""Pairs of integer arrays: the rows to learn from and the rows to score."""


@dataclass(frozen=True)
class ClassifierSpec:
    """What the catalog knows of a classifier.

    Attributes
    ----------
    name : str
    summary : str
        What it is, in a few words.
    build : callable
        ``build(value, seed, splits)`` returns an unfitted scikit-learn classifier; `value` is the tuned parameter,
        `splits` are the folds a calibration has to use.
    parameter : str
        What `grid` is a grid of; empty where nothing is tuned.
    grid : tuple of float
        Values to choose from, in order from the strongest regularisation to the weakest.
    default : float
        The value without tuning.
    standardise : bool
        Whether features are brought to mean 0 and deviation 1 first.
    quick : bool
        Whether it is tuned unless told otherwise.
    folds : int
        Folds of the cross-validation; fewer for the slow methods.
    linear : bool
        Whether its probabilities are the softmax of a linear function of the features.
    trusted : tuple of str
        The types, beyond those skops trusts by itself, that a saved one of this row consists of.
    """

    name: str
    summary: str
    build: Callable[[float, int, Splits], Any]
    parameter: str = ""
    grid: tuple[float, ...] = ()
    default: float = 0.0
    standardise: bool = True
    quick: bool = True
    folds: int = 5
    linear: bool = False
    trusted: tuple[str, ...] = ()


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
"""What the rows build; a bundle's classifier is one of these, scaled or not."""


def find(name: str) -> ClassifierSpec:
    """Return the row called `name`; raise UnknownNameError when there is none."""
    if name not in CLASSIFIERS:
        raise UnknownNameError.of("classifier", name, names(), f"Expected one of {', '.join(names())}.")
    return CLASSIFIERS[name]


def names() -> list[str]:
    """Return every name that `--classifier` takes."""
    return [*CLASSIFIERS, NONE]


def trusted_types() -> list[str]:
    """Return the fixed list of types that a bundle's classifier may consist of."""
    # Of several labels a picture, one that all have, or none, has a classifier that is always of one mind.
    of_labels = {"sklearn.multiclass._ConstantPredictor"}
    return sorted(of_labels.union(*(spec.trusted for spec in CLASSIFIERS.values())))


def _logistic(c: float, seed: int, splits: Splits) -> Any:
    from sklearn.linear_model import LogisticRegression

    # On some hundred features and some thousand rows newton-cg reaches the same optimum as lbfgs ten times sooner.
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

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


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
_C = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)

CLASSIFIERS: Mapping[str, ClassifierSpec] = {
    spec.name: spec
    for spec in (
        ClassifierSpec("logistic", "multinomial logistic regression", _logistic, "C", _C, 1e-2, linear=True),
        ClassifierSpec(
            "linear-svm", "linear support vectors, calibrated", _linear_svm, "C", _C[:7], 1e-3, trusted=_SIGMOID
        ),
        ClassifierSpec(
            "rbf-svm",
            "support vectors with a Gaussian kernel, calibrated",
            _rbf_svm,
            "C",
            (0.3, 1.0, 3.0, 10.0, 30.0),
            3.0,
            quick=False,
            folds=3,
            trusted=_SIGMOID,
        ),
        ClassifierSpec(
            "knn",
            "nearest neighbours, weighted by distance",
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
            "softmax over distances to the class means",
            _nearest_centroid,
            trusted=(_CALIBRATED, "sklearn.calibration._TemperatureScaling"),
        ),
        ClassifierSpec("lda", "linear discriminants with shrinkage", _lda, linear=True),
        ClassifierSpec(
            "random-forest", "random forest", _random_forest, standardise=False, quick=False, folds=3, trusted=(_TREE,)
        ),
        ClassifierSpec(
            "extra-trees",
            "extremely randomised trees",
            _extra_trees,
            standardise=False,
            quick=False,
            folds=3,
            trusted=(_TREE,),
        ),
        ClassifierSpec(
            "bagging", "bagged decision trees", _bagging, standardise=False, quick=False, folds=3, trusted=(_TREE,)
        ),
        ClassifierSpec(
            "adaboost",
            "boosted small decision trees",
            _adaboost,
            standardise=False,
            quick=False,
            folds=3,
            trusted=(_TREE,),
        ),
        ClassifierSpec(
            "gradient-boosting",
            "gradient boosting on histograms",
            _gradient_boosting,
            standardise=False,
            quick=False,
            folds=3,
            trusted=("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",),
        ),
        ClassifierSpec(
            "mlp",
            "one hidden layer of 256",
            _mlp,
            "alpha",
            (10.0, 1.0, 0.1, 1e-2, 1e-3),
            1.0,
            quick=False,
            folds=3,
            trusted=("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",),
        ),
    )
}
