"""Linear discriminant analysis with a shrunk covariance matrix and calibrated probabilities.

The covariance matrix within classes is mixed with a multiple of the identity (Friedman 1989, Ledoit and Wolf 2004). By
how much is chosen by the out-of-fold log loss; the scores are divided by the temperature at which that is lowest (Guo
et al. 2017), since the plain posteriors of hundreds of features are far too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

Features = NDArray[np.float32]
Truth = NDArray[np.int64]
Scores = NDArray[np.float64]
"""Logarithms of the posterior probabilities, up to a constant per row and a factor, of shape (n, k)."""

_BLOCK = 4096
_TEMPERATURES = (-4.0, 18.0)
"""Bounds of the logarithm of the temperature."""
_IMPOSSIBLE = -1e30
"""Score of a class that the training rows lack."""


@dataclass(frozen=True)
class Discriminant:
    """The statistics of some rows, from which a classifier follows for every shrinkage.

    Attributes
    ----------
    scaler : StandardScaler
    classes : ndarray of shape (c,), int
        The classes that the rows have.
    means : ndarray of shape (c, width), float64
        Mean of each class, of standardised features.
    log_priors : ndarray of shape (c,), float64
    deviations : ndarray of shape (n, width), float64, or None
        Deviations from the means of the classes, if there are fewer rows than features.
    products : ndarray of shape (width, width) or (n, n), float64
        Products of the deviations, of features with features or of rows with rows, whichever are fewer.
    variance : float
        Mean variance within classes over the features.
    """

    scaler: StandardScaler
    classes: Truth
    means: Scores
    log_priors: Scores
    deviations: Scores | None
    products: Scores
    variance: float

    @classmethod
    def of(cls, features: Features, truth: Truth, weights: NDArray[np.float64] | None = None) -> Self:
        """Return the statistics of some rows.

        Parameters
        ----------
        features : ndarray of shape (n, width), float32
        truth : ndarray of shape (n,), int
        weights : ndarray of shape (k,), optional
            Weight of the rows of each class.
        """
        scaler = StandardScaler().fit(features)
        classes, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
        share = counts * (1.0 if weights is None else weights[classes])
        of_row = (share / counts / share.sum())[place]
        means = np.stack([scaler.transform(features[truth == each]).mean(axis=0, dtype=np.float64) for each in classes])
        count, width = features.shape
        deviations = None
        if width <= count:
            products = np.zeros((width, width))
            for start in range(0, count, _BLOCK):
                rows = slice(start, start + _BLOCK)
                deviation = _deviations(scaler, features[rows], means[place[rows]], of_row[rows])
                products += deviation.T @ deviation
        else:
            deviations = _deviations(scaler, features, means[place], of_row)
            products = deviations @ deviations.T
        variance = float(np.trace(products)) / width
        # Classes of one image each have no variance; then the nearest mean decides.
        return cls(scaler, classes, means, np.log(share / share.sum()), deviations, products, variance or 1.0)

    def weights(self, shrinkage: float) -> tuple[Scores, Scores]:
        """Return the coefficients, of shape (c, width), and the intercepts, of shape (c,), of the classes."""
        diagonal, kept = shrinkage * self.variance, 1 - shrinkage
        if self.deviations is None:
            coefficients = cho_solve(_factor(kept * self.products, diagonal), self.means.T).T
        else:
            # The matrix inversion lemma: only a matrix of the size of the rows is solved.
            inner = cho_solve(_factor(kept * self.products, diagonal), kept * (self.deviations @ self.means.T))
            coefficients = (self.means - inner.T @ self.deviations) / diagonal
        return coefficients, self.log_priors - (coefficients * self.means).sum(axis=1) / 2

    def scores(self, features: Features, shrinkage: float, classes: int) -> Scores:
        """Return the scores of all `classes` classes for some rows."""
        coefficients, intercepts = self.weights(shrinkage)
        scores = np.full((len(features), classes), _IMPOSSIBLE)
        scores[:, self.classes] = self.scaler.transform(features) @ coefficients.T + intercepts
        return scores

    def pipeline(self, shrinkage: float, temperature: float) -> Pipeline:
        """Return the classifier as scikit-learn has it."""
        coefficients, intercepts = (array / temperature for array in self.weights(shrinkage))
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        if len(self.classes) == 2:
            coefficients, intercepts = np.diff(coefficients, axis=0), np.diff(intercepts)
        fitted: dict[str, Any] = {"classes_": self.classes, "coef_": coefficients, "intercept_": intercepts}
        fitted |= {"means_": self.means, "priors_": np.exp(self.log_priors), "n_features_in_": self.means.shape[1]}
        for name, value in fitted.items():
            setattr(classifier, name, value)
        return Pipeline([("standardscaler", self.scaler), ("lineardiscriminantanalysis", classifier)])


def best_temperature(scores: Scores, truth: Truth) -> tuple[float, float]:
    """Return the temperature of the lowest log loss, and that log loss in nats.

    One more image of an unknown class is counted, as Platt (1999) does: without it, images that are all classified
    correctly would make the classifier certain.
    """
    rows, possible = np.arange(len(truth)), (scores > _IMPOSSIBLE).all(axis=0)

    def log_losses(temperature: float) -> tuple[float, float]:
        logarithms = log_softmax(scores / temperature, axis=1)
        return float(-logarithms[rows, truth].mean()), float(-logarithms[:, possible].mean())

    def objective(logarithm: float) -> float:
        known, unknown = log_losses(np.exp(logarithm))
        return known + unknown / len(truth)

    found = minimize_scalar(objective, bounds=_TEMPERATURES, method="bounded", options={"xatol": 1e-3})
    temperature = float(np.exp(found.x))
    return temperature, log_losses(temperature)[0]


def cautious_temperature(width: int, shrinkage: float) -> float:
    """Return a temperature for `width` standardised features, where too few images leave none to hold out.

    Nothing shows how reliable the classifier is, so it is never sure: without variance within classes, the score of the
    nearest class exceeds another by half the squared distance of their means, which is about 1 to 2 per feature.
    """
    return width / shrinkage


def scores_of_folds(
    features: Features,
    truth: Truth,
    splits: Sequence[tuple[Any, Any]],
    shrinkages: Sequence[float],
    classes: int,
    weights: NDArray[np.float64] | None = None,
) -> dict[float, Scores]:
    """Return the out-of-fold scores for each shrinkage; rows of a class that no other fold has are NaN."""
    scores = {value: np.full((len(truth), classes), np.nan) for value in shrinkages}
    for train, test in splits:
        scored = test[np.isin(truth[test], truth[train])]
        if not len(scored) or len(np.unique(truth[train])) < 2:
            continue
        statistics = Discriminant.of(features[train], truth[train], weights)
        for value in shrinkages:
            scores[value][scored] = statistics.scores(features[scored], value, classes)
    return scores


def _deviations(scaler: StandardScaler, features: Features, means: Scores, weights: Scores) -> Scores:
    deviations = scaler.transform(features).astype(np.float64) - means
    return np.asarray(deviations * np.sqrt(weights)[:, None])


def _factor(matrix: Scores, diagonal: float) -> Any:
    matrix.flat[:: len(matrix) + 1] += diagonal
    return cho_factor(matrix, overwrite_a=True, check_finite=False)
