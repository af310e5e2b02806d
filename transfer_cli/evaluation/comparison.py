"""Compare models on the same images: differences with paired intervals, and significance tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.evaluation.paired_predictions import ModelPredictions, aligned
from transfer_cli.metrics import intervals
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.metrics_table import replicate_metrics
from transfer_cli.metrics.scores import log_loss_per_image

SIGNIFICANT = 0.05
COMPARED = ("accuracy", "macro_f1", "log_loss")


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same images.

    Attributes
    ----------
    better, other : str
        Their names; `better` is the one with the higher accuracy.
    differences : dict of str to MetricValue
        `better` minus `other` for each metric of `COMPARED`, with a paired bootstrap interval.
    p : float
        p-value of McNemar's exact test.
    p_adjusted : float
        The same after Holm's correction for the number of pairs.
    images : int
    """

    better: str
    other: str
    differences: dict[str, MetricValue]
    p: float
    p_adjusted: float
    images: int

    def difference(self, metric: str, of: str) -> MetricValue:
        """Return a metric of the model `of` minus that of the other model, with its interval."""
        difference = self.differences[metric]
        if of == self.better:
            return difference
        low, high = difference["low"], difference["high"]
        # Subtracted from 0.0, since negation would turn 0.0 into -0.0.
        return {
            "value": 0.0 - difference["value"],
            "low": None if high is None else 0.0 - high,
            "high": None if low is None else 0.0 - low,
        }

    def verdict(self) -> str:
        """Return the conclusion as one line."""
        if self.p_adjusted >= SIGNIFICANT:
            return f"not distinguishable at n = {self.images}"
        value, low, high = (self.differences["accuracy"][key] for key in ("value", "low", "high"))
        interval = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        return f"{self.better} is better by {100 * (value or 0):.1f} points{interval}"


@dataclass(frozen=True)
class Comparison:
    """Several models on the same images.

    Attributes
    ----------
    images : int
    part : str
    metrics : dict of str to dict of str to MetricValue
        Per model, in the order given, each metric of `COMPARED`.
    pairs : tuple of PairedComparison
        One for every two models.
    left_out : tuple of str
        Images that one of the models was trained on or selected by; they are not scored.
    moved : int
        Number of images that have another path for one of the models (images are matched by content).
    """

    images: int
    part: str
    metrics: dict[str, dict[str, MetricValue]]
    pairs: tuple[PairedComparison, ...]
    left_out: tuple[str, ...]
    moved: int = 0

    @property
    def best(self) -> str:
        """The model with the highest accuracy; the first one of a tie."""
        return self.leading[0]

    @property
    def leading(self) -> tuple[str, ...]:
        """All models that have the highest accuracy."""
        highest = max(metrics["accuracy"]["value"] for metrics in self.metrics.values())
        return tuple(name for name, metrics in self.metrics.items() if metrics["accuracy"]["value"] == highest)

    def pair(self, one: str, two: str) -> PairedComparison:
        """Return the comparison of two models."""
        return next(pair for pair in self.pairs if {pair.better, pair.other} == {one, two})


def compare(models: Sequence[ModelPredictions], seed: int = 0) -> Comparison:
    """Compare models on images that all of them predicted.

    Images that one of the models was trained on, or selected by, are left out for all models. The differences are
    computed on the same bootstrap resamples of the images (paired bootstrap), so that the difficulty of an image, which
    is the same for all models, cancels out. Pairs are tested by McNemar's exact test; the p-values are adjusted for
    the number of pairs by Holm's method.

    Raises
    ------
    InputError
        When there are fewer than two models, they predicted different images, or no image is left.

    References
    ----------
    Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages".
    S. Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    if len(models) < 2 or len({each.name for each in models}) < len(models):
        raise InputError("Expected two or more different runs to compare.")
    models, moved = aligned(models)
    used = frozenset[str]().union(*(each.used for each in models))
    independent = np.array([digest not in used for _, digest in models[0].images], bool)
    if not independent.any():
        names = ", ".join(each.name for each in models if each.used & {digest for _, digest in models[0].images})
        hint = "Evaluate all models on other images with transfer-cli evaluate, and compare the evaluations."
        images = f"all {len(independent)} images" if len(independent) > 1 else "the only image"
        raise InputError(f"Cannot compare: {images} trained or selected {names}.", hint=hint)
    left_out = tuple(path for (path, _), kept in zip(models[0].images, independent, strict=True) if not kept)
    models = [each.select(independent) for each in models]
    count = len(models[0].images)
    resamples = intervals.Resamples.affordable(count, len(models[0].class_names), seed)
    replicates = [replicate_metrics(each.truth, each.probabilities, each.predicted, resamples) for each in models]
    values = [_values(each) for each in models]
    metrics: dict[str, dict[str, MetricValue]] = {}
    for each, value, drawn in zip(models, values, replicates, strict=True):
        metrics[each.name] = {
            "accuracy": intervals.proportion(int(each.correct.sum()), count),
            "macro_f1": _with_interval(value["macro_f1"], drawn["macro_f1"], count),
            "log_loss": _with_interval(value["log_loss"], drawn["log_loss"], count, intervals.LOG),
        }
    pairs = []
    for one, two in combinations(range(len(models)), 2):
        first, second = (one, two) if values[one]["accuracy"] >= values[two]["accuracy"] else (two, one)
        differences = {}
        for name in COMPARED:
            difference = values[first][name] - values[second][name]
            differences[name] = _with_interval(difference, replicates[first][name] - replicates[second][name], count)
        p = mcnemar(models[first].correct, models[second].correct)
        pairs.append((models[first].name, models[second].name, differences, p))
    adjusted = holm([pair[-1] for pair in pairs])
    compared = tuple(PairedComparison(*pair, high, count) for pair, high in zip(pairs, adjusted, strict=True))
    return Comparison(count, models[0].part, metrics, compared, left_out, moved)


def mcnemar(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return the p-value of McNemar's exact test: a binomial test on the images that only one model has correct.

    Parameters
    ----------
    one, two : ndarray of shape (n,), bool
        Which images each of the two models classifies correctly.
    """
    from scipy.stats import binomtest

    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    return float(binomtest(only_one, only_one + only_two).pvalue) if only_one + only_two else 1.0


def accuracy_drop(
    truth: NDArray[np.int64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    thresholds: NDArray[np.float64] | None = None,
) -> tuple[float, float | None, float | None]:
    """Return the accuracy drop in percentage points, with its 95 % interval by a paired bootstrap.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
        Column of the true class of each image, or the indicator matrix of its labels.
    before, after : ndarray of shape (n, k), float
        Probabilities of two models, such as a network and its quantised version.
    thresholds : ndarray of shape (k,), optional
        Probability from which a label is assigned (multi-label). [0.5]

    Returns
    -------
    (float, float or None, float or None)
        The drop, negative if the accuracy rose, and its interval. There is no interval if both models have the same
        images correct.
    """

    def correct(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        if truth.ndim == 1:
            return np.asarray(probabilities.argmax(axis=1) == truth, np.float64)
        predicted = probabilities >= (0.5 if thresholds is None else thresholds)
        return np.asarray((predicted == (truth > 0)).all(axis=1), np.float64)

    lost = 100 * (correct(before) - correct(after))
    resamples = intervals.Resamples(len(lost))
    replicates = np.concatenate([lost @ weights for weights in resamples.blocks()]) / len(lost)
    value = float(lost.mean())
    return value, *intervals.bootstrap_interval(replicates, len(lost), value)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple tests (Holm 1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def _values(predictions: ModelPredictions) -> dict[str, float]:
    from sklearn.metrics import f1_score

    truth, predicted = predictions.truth, predictions.predicted
    present = np.flatnonzero(truth.any(axis=0)) if truth.ndim == 2 else np.unique(truth)
    f1 = f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    return {
        "accuracy": float(predictions.correct.mean()),
        "macro_f1": float(f1),
        "log_loss": float(log_loss_per_image(truth, predictions.probabilities).mean()),
    }


def _with_interval(
    value: float, replicates: NDArray[np.float64], images: int, scale: intervals.Scale = intervals.PERCENTILE
) -> MetricValue:
    low, high = intervals.bootstrap_interval(replicates, images, value, scale)
    return {"value": value, "low": low, "high": high}
