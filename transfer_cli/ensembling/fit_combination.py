"""Fit how the probabilities of several models are combined, on images that no model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, ensemble_methods
from transfer_cli.classifiers import fit as classify
from transfer_cli.classifiers.folds import folds
from transfer_cli.classifiers.linear import Linear
from transfer_cli.ensembling.members import MemberPredictions
from transfer_cli.errors import InputError
from transfer_cli.inference.ensemble_model import MemberProbabilities, combiner_of, log_probabilities
from transfer_cli.metrics.scores import log_loss
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe

_MIN_PROBABILITY = 1e-12
_MAX_STEPS = 2000
_TOLERANCE = 1e-7
_FOLDS = 5
_MIN_WEIGHT = 0.01
"""A member with a smaller weight is left out, since it costs as much time as any other."""
MAX_PICKS = 25
"""Maximum number of steps of the greedy selection; Caruana et al. (2004) found little gain beyond."""

CostOf = Callable[[Sequence[int]], float]
"""Returns the ms/image of some members together."""


@dataclass(frozen=True)
class FittedCombination:
    """How the probabilities of the members are combined.

    Attributes
    ----------
    combination : str
        A method of catalog.ensemble_methods.
    weights : tuple of float
        Weight of each member; they add up to 1.
    linear : Linear or None
        The second-level classifier of a stack.
    held_out : ndarray of shape (n, k), float32, or None
        Out-of-fold predictions of the combination for the images that it was fitted on.
    picks : tuple of int
        The members in the order of a greedy selection.
    """

    combination: str
    weights: tuple[float, ...]
    linear: Linear | None = None
    held_out: NDArray[np.float32] | None = None
    picks: tuple[int, ...] = ()

    def __call__(self, probabilities: MemberProbabilities) -> NDArray[np.float32]:
        """Return the combined probabilities, of shape (n, k)."""
        return combiner_of(self.combination, self.weights, self.linear)(probabilities)

    @property
    def used(self) -> list[int]:
        """The members that have a weight."""
        return [number for number, weight in enumerate(self.weights) if weight > 0]


def fixed(combination: str, models: int) -> FittedCombination:
    """Return a combination without fitted parameters: vote or average."""
    return FittedCombination(combination, (1 / models,) * models)


def combine_available(combination: str, probabilities: MemberProbabilities) -> NDArray[np.float32]:
    """Return the combined probabilities of those models that have a prediction for an image, of shape (n, k).

    Parameters
    ----------
    combination : str
        A method without fitted parameters.
    probabilities : ndarray of shape (m, n, k), float32
        NaN where a model has no prediction; each image has at least one.
    """
    available = ~np.isnan(probabilities[:, :, 0])
    patterns, pattern_of = np.unique(available, axis=1, return_inverse=True)
    combined = np.empty(probabilities.shape[1:], np.float32)
    for number, models in enumerate(patterns.T):
        rows = np.flatnonzero(pattern_of == number)
        combined[rows] = fixed(combination, int(models.sum()))(probabilities[models][:, rows])
    return combined


def fit(
    combination: str, val: MemberPredictions, recipe: EnsembleRecipe, cost_of: CostOf, progress: Progress = SILENT
) -> FittedCombination:
    """Fit a combination on images that no member was trained on.

    Parameters
    ----------
    combination : {"weighted", "greedy", "stack"}
    val : MemberPredictions
        Images of one group are in the same fold.
    recipe : EnsembleRecipe
        Has the seed of the folds, and the limits of a greedy selection.
    cost_of : callable

    Raises
    ------
    InputError
        When no member is within the limits.
    """
    if combination == ensemble_methods.STACK:
        return _stack(val, recipe.seed, progress)
    probabilities, truth = val.probabilities, val.truth

    def fit_weights(rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], tuple[int, ...]]:
        if combination == ensemble_methods.WEIGHTED:
            weights = em_mixture_weights(probabilities[:, rows], truth[rows])
            kept = np.where(weights < _MIN_WEIGHT, 0.0, weights)
            return kept / kept.sum(), ()
        picks = greedy_picks(probabilities[:, rows], truth[rows], recipe.ensemble, cost_of)
        return np.bincount(picks, minlength=len(probabilities)) / len(picks), picks

    weights, picks = fit_weights(np.arange(len(truth)))
    held_out = np.empty(probabilities.shape[1:], np.float32)
    for others, rows in folds(truth, _FOLDS, recipe.seed, val.group_ids):
        combine = combiner_of(combination, fit_weights(others)[0].tolist(), None)
        held_out[rows] = combine(probabilities[:, rows])
    return FittedCombination(combination, tuple(weights.tolist()), None, held_out, picks)


def em_mixture_weights(probabilities: MemberProbabilities, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the maximum-likelihood weights of a mixture of the models, of shape (m,), adding up to 1.

    Fitted by expectation-maximisation (EM); the likelihood has a single maximum.

    Parameters
    ----------
    probabilities : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,) or (n, k), int
        For multi-label each label counts as an observation.

    References
    ----------
    A. P. Dempster et al. (1977), "Maximum Likelihood from Incomplete Data via the EM Algorithm", section 4.3.
    """
    exact = probabilities.astype(np.float64)
    if truth.ndim == 1:
        likelihoods = exact[:, np.arange(len(truth)), truth]
    else:
        likelihoods = np.where(truth > 0, exact, 1 - exact).reshape(len(exact), -1)
    likelihoods = np.maximum(likelihoods, _MIN_PROBABILITY)
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(_MAX_STEPS):
        shares = weights[:, None] * likelihoods
        new = (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(new - weights).max() < _TOLERANCE:
            break
        weights = new
    return np.asarray(weights / weights.sum(), np.float64)


def greedy_picks(
    probabilities: MemberProbabilities, truth: NDArray[np.int64], limits: EnsembleOptions, cost_of: CostOf
) -> tuple[int, ...]:
    """Return the models of a greedy ensemble selection; a model can be selected several times.

    Each step adds the model that gives the lowest log loss of the mean. The best of all prefixes is returned, the
    shortest one of a tie.

    Parameters
    ----------
    probabilities : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,) or (n, k), int
    limits : EnsembleOptions
    cost_of : callable

    References
    ----------
    R. Caruana et al. (2004), "Ensemble Selection from Libraries of Models".
    """
    exact = probabilities.astype(np.float64)
    models = range(len(exact))
    total = np.zeros(probabilities.shape[1:])
    picks: list[int] = []
    losses: list[float] = []

    def is_allowed(chosen: set[int]) -> bool:
        if limits.max_models is not None and len(chosen) > limits.max_models:
            return False
        return limits.max_ms is None or cost_of(sorted(chosen)) <= limits.max_ms

    for _ in range(MAX_PICKS):
        allowed = [model for model in models if is_allowed({*picks, model})]
        if not allowed:
            break
        tried = [log_loss(truth, ((total + exact[model]) / (len(picks) + 1)).astype(np.float32)) for model in allowed]
        best = int(np.argmin(tried))
        picks.append(allowed[best])
        losses.append(tried[best])
        total += exact[allowed[best]]
    if not picks:
        least = min(cost_of([model]) for model in models)
        raise InputError(f"No member is within --max-ms; the fastest takes {least:.1f} ms.", hint="Increase --max-ms.")
    return tuple(picks[: int(np.argmin(losses)) + 1])


def _stack(val: MemberPredictions, seed: int, progress: Progress) -> FittedCombination:
    """Return the better of two stacked logistic regressions, by out-of-fold log loss (Wolpert 1992).

    The first has a weight per probability and class, that is 400 for four members and ten classes, and needs many
    images. The second has a weight per member.
    """
    probabilities, truth = val.probabilities, val.truth
    models, _, classes = probabilities.shape
    logistic, options = classifiers.find("logistic"), classify.FitOptions(classes=classes, tune=True, seed=seed)
    logs = log_probabilities(probabilities)
    fitted = classify.fit(logistic, logs, truth, options, groups=val.group_ids, progress=progress)
    assert fitted.out_of_fold is not None
    of_full, of_member_weights = fitted.out_of_fold.copy(), np.empty(probabilities.shape[1:], np.float32)
    # A class with a single image has no out-of-fold prediction: the mean of the members replaces it.
    unknown = np.isnan(of_full[:, 0])
    of_full[unknown] = probabilities[:, unknown].mean(axis=0)
    for others, rows in folds(truth, _FOLDS, seed, val.group_ids):
        linear = fit_member_weights(probabilities[:, others], truth[others], classes)
        of_member_weights[rows] = linear.probabilities(log_probabilities(probabilities[:, rows]))
    equal = fixed(ensemble_methods.STACK, models)
    if log_loss(truth, of_full) < log_loss(truth, of_member_weights):
        return replace(equal, linear=Linear.fold(fitted.pipeline, classes), held_out=of_full)
    return replace(equal, linear=fit_member_weights(probabilities, truth, classes), held_out=of_member_weights)


def fit_member_weights(probabilities: MemberProbabilities, truth: NDArray[np.int64], classes: int) -> Linear:
    """Return a logistic regression with one weight per model, on the logarithms of the probabilities.

    It is fitted on the log ratios of the true class to each other class (Bradley & Terry 1952, paired comparisons).

    Parameters
    ----------
    probabilities : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,), int
    classes : int
    """
    from sklearn.linear_model import LogisticRegression

    models, images, _ = probabilities.shape
    logs = log_probabilities(probabilities).reshape(images, models, classes).astype(np.float64)
    of_truth = np.take_along_axis(logs, truth[:, None, None], axis=2)
    others = np.arange(classes) != truth[:, None]
    ratios = (of_truth - logs).transpose(0, 2, 1)[others]
    # Each comparison is added in reverse, too, since scikit-learn requires both outcomes.
    rows = np.concatenate([ratios, -ratios])
    outcome = np.arange(len(rows)) < len(ratios)
    fitted = LogisticRegression(fit_intercept=False, C=1.0, max_iter=1000).fit(rows, outcome)
    return Linear(np.kron(fitted.coef_[0][:, None], np.eye(classes)), np.zeros(classes))
