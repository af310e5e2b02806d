"""What the pictures of val say about how to join the answers of several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import classifiers, ensemble_methods
from transfer_cli.classifiers import fit as classify
from transfer_cli.classifiers.folds import folds
from transfer_cli.classifiers.linear import Linear
from transfer_cli.errors import InputError
from transfer_cli.inference.combine import Given, log_probabilities
from transfer_cli.inference.ensemble_model import join_of
from transfer_cli.metrics.scores import log_loss
from transfer_cli.progress import SILENT, Progress

_LEAST = 1e-12
_STEPS = 2000
_CLOSE = 1e-7
_FOLDS = 5
_NEXT_TO_NOTHING = 0.01
MOST_MODELS = 25
"""So many picks a greedy selection makes at most; Caruana et al. found nothing more to be gained soon after."""


@dataclass(frozen=True)
class Limits:
    """What a greedy selection may not exceed.

    Attributes
    ----------
    models : int or None
        Different members.
    milliseconds : float or None
        For a picture, of the networks that are run.
    """

    models: int | None = None
    milliseconds: float | None = None


@dataclass(frozen=True)
class FittedCombination:
    """How the answers are joined.

    Attributes
    ----------
    combination : str
        A row of catalog.combiners.
    weights : tuple of float
        Of each member, adding up to 1.
    linear : Linear or None
        What reads the answers, of a stack.
    held_out : ndarray of shape (n, k), float32, or None
        Of the pictures it was fitted on: what it says when it is fitted without them, in folds.
    picks : tuple of int
        In which order a greedy selection took the members.
    """

    combination: str
    weights: tuple[float, ...]
    linear: Linear | None = None
    held_out: NDArray[np.float32] | None = None
    picks: tuple[int, ...] = ()

    def __call__(self, given: Given) -> NDArray[np.float32]:
        """Return the joint answer, of shape (n, k)."""
        return join_of(self.combination, self.weights, self.linear)(given)


def fixed(combination: str, models: int) -> FittedCombination:
    """Return a combination of which nothing is fitted: vote or average."""
    return FittedCombination(combination, (1 / models,) * models)


def of_those_who_know(combination: str, given: Given) -> NDArray[np.float32]:
    """Return the joint answer about each picture of the models that were asked about it, of shape (n, k).

    Parameters
    ----------
    combination : str
        One of which nothing is fitted.
    given : ndarray of shape (m, n, k), float32
        NaN where a model was not asked; of each picture one at least was.
    """
    request = ~np.isnan(given[:, :, 0])
    patterns, pattern_of = np.unique(request, axis=1, return_inverse=True)
    joined = np.empty(given.shape[1:], np.float32)
    for number, models in enumerate(patterns.T):
        rows = np.flatnonzero(pattern_of == number)
        joined[rows] = fixed(combination, int(models.sum()))(given[models][:, rows])
    return joined


def fit(
    combination: str,
    given: Given,
    truth: NDArray[np.int64],
    assign_group_ids: NDArray[np.int64],
    *,
    seed: int = 0,
    limits: Limits | None = None,
    cost_of: Callable[[Sequence[int]], float] | None = None,
    progress: Progress = SILENT,
) -> FittedCombination:
    """Return what pictures that no member has learnt from say about joining their answers.

    Parameters
    ----------
    combination : {"weighted", "greedy", "stack"}
    given : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,) or (n, k), int
    assign_group_ids : ndarray of shape (n,), int
        The same number for relatives, which are kept in one fold.
    seed : int
        Of the folds.
    limits : Limits, optional
        Of a greedy selection.
    cost_of : callable, optional
        Milliseconds a picture of some members together, where these are limited.
    progress : Progress

    Raises
    ------
    InputError
        When no member is within the limits.
    """
    if combination == ensemble_methods.STACK:
        return _stack(given, truth, assign_group_ids, seed, progress)

    def weights_by(rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], tuple[int, ...]]:
        if combination == ensemble_methods.WEIGHTED:
            return _without_the_least(em_mixture_weights(given[:, rows], truth[rows])), ()
        picks = greedy_picks(given[:, rows], truth[rows], limits or Limits(), cost_of)
        return np.bincount(picks, minlength=len(given)) / len(picks), picks

    weights, picks = weights_by(np.arange(len(truth)))
    held_out = np.empty(given.shape[1:], np.float32)
    for others, rows in folds(truth, _FOLDS, seed, assign_group_ids):
        held_out[rows] = join_of(combination, weights_by(others)[0].tolist(), None)(given[:, rows])
    return FittedCombination(combination, tuple(weights.tolist()), None, held_out, picks)


def _without_the_least(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights without those that change next to nothing: such a member costs what any other does."""
    kept = np.where(weights < _NEXT_TO_NOTHING, 0.0, weights)
    return np.asarray(kept / kept.sum(), np.float64)


def em_mixture_weights(given: Given, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights of the mean under which the truth is most probable, of shape (m,), adding up to 1.

    The models are taken for the components of a mixture, whose weights the EM algorithm finds (Dempster et al. 1977,
    section 4.3): the likelihood has one summit, and rises with every step.

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,) or (n, k), int
        Of several labels a picture each label counts as an observation.
    """
    of_truth = _of_truth(given, truth)
    weights = np.full(len(given), 1 / len(given))
    for _ in range(_STEPS):
        shares = weights[:, None] * of_truth
        new = (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(new - weights).max() < _CLOSE:
            break
        weights = new
    return np.asarray(weights / weights.sum(), np.float64)


def greedy_picks(
    given: Given,
    truth: NDArray[np.int64],
    limits: Limits,
    cost_of: Callable[[Sequence[int]], float] | None = None,
) -> tuple[int, ...]:
    """Return which models to average, some of them several times (Caruana et al. 2004, "Ensemble Selection").

    One after the other that model is added which makes the log loss of the mean the lowest; of all that were so made
    the best is taken, the shorter of equals.

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,) or (n, k), int
    limits : Limits
    cost_of : callable, optional
        Milliseconds a picture of some models together.
    """
    chances = given.astype(np.float64)
    total = np.zeros(given.shape[1:])
    picks: list[int] = []
    losses: list[float] = []
    for _ in range(MOST_MODELS):
        able = [model for model in range(len(given)) if _fits([*picks, model], limits, cost_of)]
        if not able:
            break
        found = [log_loss(truth, ((total + chances[model]) / (len(picks) + 1)).astype(np.float32)) for model in able]
        best = int(np.argmin(found))
        picks.append(able[best])
        losses.append(found[best])
        total += chances[able[best]]
    if not picks:
        least = "" if cost_of is None else f"; the fastest takes {min(cost_of([m]) for m in range(len(given))):.1f} ms"
        raise InputError(f"No member is within the limits{least}.", hint="Allow more with --max-ms.")
    return tuple(picks[: int(np.argmin(losses)) + 1])


def _fits(picks: Sequence[int], limits: Limits, cost_of: Callable[[Sequence[int]], float] | None) -> bool:
    chosen = sorted(set(picks))
    if limits.models is not None and len(chosen) > limits.models:
        return False
    return limits.milliseconds is None or cost_of is None or cost_of(chosen) <= limits.milliseconds


def _of_truth(given: Given, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how probable each model holds what is true, of shape (m, observations)."""
    chances = given.astype(np.float64)
    if truth.ndim == 1:
        found = chances[:, np.arange(len(truth)), truth]
    else:
        found = np.where(truth > 0, chances, 1 - chances).reshape(len(given), -1)
    return np.maximum(found, _LEAST)


def _stack(
    given: Given, truth: NDArray[np.int64], assign_group_ids: NDArray[np.int64], seed: int, progress: Progress
) -> FittedCombination:
    """Return the better of two logistic regressions, by the log loss out of fold.

    The one weighs every probability for every class, and needs many pictures: with four members and ten classes it has
    400 numbers to learn. The other weighs the members alone, the same for every class.
    """
    models, _, classes = given.shape
    fitted = classify.fit(
        classifiers.find("logistic"),
        log_probabilities(given),
        truth,
        classes=classes,
        tune=True,
        seed=seed,
        groups=assign_group_ids,
        progress=progress,
    )
    assert fitted.out_of_fold is not None
    each, of_models = fitted.out_of_fold.copy(), np.empty(given.shape[1:], np.float32)
    # Of a class with a single picture no classifier could know without it: the mean stands in.
    unknown = np.isnan(each[:, 0])
    each[unknown] = given[:, unknown].mean(axis=0)
    for others, rows in folds(truth, _FOLDS, seed, assign_group_ids):
        linear = weighing_models(given[:, others], truth[others], classes)
        of_models[rows] = linear.probabilities(log_probabilities(given[:, rows]))
    equal = (1 / models,) * models
    if log_loss(truth, each) < log_loss(truth, of_models):
        return FittedCombination(ensemble_methods.STACK, equal, Linear.fold(fitted.pipeline, classes), each)
    return FittedCombination(ensemble_methods.STACK, equal, weighing_models(given, truth, classes), of_models)


def weighing_models(given: Given, truth: NDArray[np.int64], classes: int) -> Linear:
    """Return a logistic regression that has one weight a model, on the logarithms of their probabilities.

    What it learns from is by how much each model prefers the true class to each of the others, as in the paired
    comparisons of Bradley & Terry (1952).

    Parameters
    ----------
    given : ndarray of shape (m, n, k), float32
    truth : ndarray of shape (n,), int
    classes : int
    """
    from sklearn.linear_model import LogisticRegression

    models, images, _ = given.shape
    logs = log_probabilities(given).reshape(images, models, classes).astype(np.float64)
    of_truth = np.take_along_axis(logs, truth[:, None, None], axis=2)
    others = np.arange(classes) != truth[:, None]
    preferred = (of_truth - logs).transpose(0, 2, 1)[others]
    # Each comparison the other way round, too: scikit-learn wants both outcomes.
    rows = np.concatenate([preferred, -preferred])
    outcome = np.arange(len(rows)) < len(preferred)
    fitted = LogisticRegression(fit_intercept=False, C=1.0, max_iter=1000).fit(rows, outcome)
    return Linear(np.kron(fitted.coef_[0][:, None], np.eye(classes)), np.zeros(classes))
