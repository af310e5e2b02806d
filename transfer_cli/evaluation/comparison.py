"""Which of some models is better, and whether the same pictures can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.evaluation.paired_predictions import ModelPredictions, aligned
from transfer_cli.metrics.bootstrap import Replicates
from transfer_cli.metrics.intervals import LOG, Figure, Resamples, between, proportion
from transfer_cli.metrics.metrics_table import replicates_of
from transfer_cli.metrics.scores import log_losses

SIGNIFICANT = 0.05
COMPARED = ("accuracy", "macro_f1", "log_loss")


@dataclass(frozen=True)
class Pair:
    """Two models on the same pictures.

    Attributes
    ----------
    better, other : str
        Their names, that with the higher accuracy first.
    differences : dict of str to Figure
        ``better`` less ``other``, of each of `COMPARED`, with a paired bootstrap interval.
    p : float
        Of McNemar's exact test (McNemar 1947; the binomial test on the pictures that only one of them has right).
    p_adjusted : float
        After Holm (1979), over all pairs of the comparison.
    images : int
    """

    better: str
    other: str
    differences: dict[str, Figure]
    p: float
    p_adjusted: float
    images: int

    def difference(self, figure: str, of: str) -> Figure:
        """Return a figure of one of the two less that of the other, with its interval.

        Parameters
        ----------
        figure : str
            One of `COMPARED`.
        of : str
            The name of the one that the other is taken from.
        """
        found = self.differences[figure]
        if of == self.better:
            return found
        low, high = found["low"], found["high"]
        # 0.0 less it, so that no difference is not said to be minus none.
        return {
            "value": 0.0 - found["value"],
            "low": None if high is None else 0.0 - high,
            "high": None if low is None else 0.0 - low,
        }

    @property
    def is_distinguishable(self) -> bool:
        """Whether the pictures tell that one has more right than the other."""
        return self.p_adjusted < SIGNIFICANT

    def verdict(self) -> str:
        """Return what there is to say, for a person."""
        if not self.is_distinguishable:
            return f"not distinguishable at n = {self.images}"
        value, low, high = (self.differences["accuracy"][word] for word in ("value", "low", "high"))
        interval = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        return f"{self.better} is better by {100 * (value or 0):.1f} points{interval}"


@dataclass(frozen=True)
class Comparison:
    """Some models on the same pictures.

    Attributes
    ----------
    images : int
    part : str
    figures : dict of str to dict of str to Figure
        Of each model, in the order in which they were given, each of `COMPARED`.
    pairs : tuple of Pair
        Every two of them.
    left_out : tuple of str
        Pictures that one of them has learnt from or was chosen by, which say nothing fair.
    elsewhere : int
        How many pictures have another path for one of them; they are the same by content.
    """

    images: int
    part: str
    figures: dict[str, dict[str, Figure]]
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]
    elsewhere: int = 0

    @property
    def best(self) -> str:
        """The one with the highest accuracy; the first of equals."""
        return self.leading[0]

    @property
    def leading(self) -> tuple[str, ...]:
        """Those with the highest accuracy: the best one, or several where none is."""
        highest = max(figures["accuracy"]["value"] for figures in self.figures.values())
        return tuple(name for name, figures in self.figures.items() if figures["accuracy"]["value"] == highest)

    def against_best(self, name: str) -> Pair:
        """Return the pair of a model and the best one."""
        return next(pair for pair in self.pairs if {pair.better, pair.other} == {name, self.best})


def compare(models: Sequence[ModelPredictions], seed: int = 0) -> Comparison:
    """Compare models on pictures that all of them were asked about.

    Pictures that one of them has learnt from, or was chosen by, are left out for all. Differences are taken in each of
    the same resamples of the pictures, so that what is hard for all of them cancels.

    Parameters
    ----------
    models : sequence of Answers
    seed : int
        Of the resamples.

    Raises
    ------
    InputError
        When they are fewer than two, were not asked about the same pictures, or all of these had a say in one of them.
    """
    if len(models) < 2 or len({each.name for each in models}) < len(models):
        raise InputError("Expected two runs or more, each once.")
    models, elsewhere = aligned(models)
    learnt = frozenset[str]().union(*(each.learnt for each in models))
    kept = np.array([digest not in learnt for _, digest in models[0].images], bool)
    if not kept.any():
        names = ", ".join(each.name for each in models if each.learnt & {d for _, d in models[0].images})
        raise InputError(
            f"All of the {len(kept)} pictures had a say in {names}: they do not tell which model is better.",
            hint="Ask all of them about other pictures with transfer-cli evaluate, and compare the evaluations.",
        )
    left_out = tuple(path for (path, _), there in zip(models[0].images, kept, strict=True) if not there)
    models = [each.only(kept) for each in models]
    count = len(models[0].images)
    resamples = Resamples.affordable(count, len(models[0].class_names), seed)
    replicates = [replicates_of(each.truth, each.probabilities, each.predicted, resamples) for each in models]
    values = [_values(each) for each in models]
    figures = {
        each.name: _figures(each, value, drawn) for each, value, drawn in zip(models, values, replicates, strict=True)
    }
    pairs = []
    for one, two in combinations(range(len(models)), 2):
        first, second = (one, two) if values[one]["accuracy"] >= values[two]["accuracy"] else (two, one)
        differences = {
            name: _difference(name, values[first], values[second], replicates[first], replicates[second], count)
            for name in COMPARED
        }
        p = mcnemar(models[first].right, models[second].right)
        pairs.append((models[first].name, models[second].name, differences, p))
    adjusted = holm([pair[-1] for pair in pairs])
    found = tuple(Pair(*pair, high, count) for pair, high in zip(pairs, adjusted, strict=True))
    return Comparison(count, models[0].part, figures, found, left_out, elsewhere)


def mcnemar(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return the p-value of McNemar's exact test.

    Parameters
    ----------
    one, two : ndarray of shape (n,), bool
        Which pictures each of two models has right.
    """
    from scipy.stats import binomtest

    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    return float(binomtest(only_one, only_one + only_two).pvalue) if only_one + only_two else 1.0


def accuracy_drop(
    truth: NDArray[np.int64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    thresholds: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> tuple[float, float | None, float | None]:
    """Return by how many points the accuracy fell, and its 95 % interval by a paired bootstrap of the pictures.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
        Column of the true class of each picture, or the indicator matrix of its labels.
    before, after : ndarray of shape (n, k), float
        Probabilities of the same pictures by two models, such as a network and what was made of it with fewer bits.
    thresholds : ndarray of shape (k,), optional
        From which probability on a picture has a label, of a multi-label task; 0.5 where they are not given.
    seed : int
        Of the resamples.

    Returns
    -------
    (float, float or None, float or None)
        The drop, below zero where it rose, and from where to where it may be. No interval where both have the same
        pictures right: a bootstrap cannot know of mistakes that no picture shows.
    """

    def right(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        if truth.ndim == 1:
            return np.asarray(probabilities.argmax(axis=1) == truth, np.float64)
        given = probabilities >= (0.5 if thresholds is None else thresholds)
        return np.asarray((given == (truth > 0)).all(axis=1), np.float64)

    lost = 100 * (right(before) - right(after))
    resamples = Resamples(len(lost), seed=seed)
    replicates = np.concatenate([lost @ weights for weights in resamples.blocks()]) / len(lost)
    value = float(lost.mean())
    return value, *between(replicates, len(lost), value)


def holm(p: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, after Holm (1979).

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


def _values(answers: ModelPredictions) -> dict[str, float]:
    from sklearn.metrics import f1_score

    present = np.flatnonzero(answers.truth.any(axis=0)) if answers.truth.ndim == 2 else np.unique(answers.truth)
    f1 = f1_score(answers.truth, answers.predicted, labels=present, average="macro", zero_division=0)
    return {
        "accuracy": float(answers.right.mean()),
        "macro_f1": float(f1),
        "log_loss": float(log_losses(answers.truth, answers.probabilities).mean()),
    }


def _figures(answers: ModelPredictions, values: dict[str, float], drawn: Replicates) -> dict[str, Figure]:
    count = len(answers.images)
    figures = {"accuracy": proportion(int(answers.right.sum()), count)}
    low, high = between(drawn["macro_f1"], count, values["macro_f1"])
    figures["macro_f1"] = {"value": values["macro_f1"], "low": low, "high": high}
    low, high = between(drawn["log_loss"], count, values["log_loss"], LOG)
    figures["log_loss"] = {"value": values["log_loss"], "low": low, "high": high}
    return figures


def _difference(
    name: str, one: dict[str, float], two: dict[str, float], first: Replicates, second: Replicates, images: int
) -> Figure:
    value = one[name] - two[name]
    low, high = between(first[name] - second[name], images, value)
    return {"value": value, "low": low, "high": high}
