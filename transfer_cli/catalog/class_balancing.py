"""What can be done about classes of unequal sizes, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import UnknownNameError

Counts = NDArray[np.int64]
PerClass = NDArray[np.float64]


def _no_weights(counts: Counts, words: Any) -> PerClass:
    """Return 1 for each class."""
    return np.ones(len(counts))


def _no_offsets(counts: Counts, words: Any) -> PerClass:
    """Return 0 for each class."""
    return np.zeros(len(counts))


@dataclass(frozen=True)
class BalanceSpec:
    """What the catalog knows of a method.

    Attributes
    ----------
    name : str
    summary : str
        What it does, in a few words.
    word : str
        The word of the recipe's section that is of this method alone; empty where it has none.
    weights : callable
        ``weights(counts, words)`` gives the weight of a picture of each class in the loss, of mean 1 over the pictures.
        `counts` are the training pictures of each class, `words` the recipe's section.
    offsets : callable
        ``offsets(counts, words)`` gives what is added to the logit of each class in training, and not afterwards.
    focal : bool
        Whether pictures that are classified well count for less.
    oversamples : bool
        Whether every class is drawn equally often.
    """

    name: str
    summary: str
    word: str = ""
    weights: Callable[[Counts, Any], PerClass] = _no_weights
    offsets: Callable[[Counts, Any], PerClass] = _no_offsets
    focal: bool = False
    oversamples: bool = False

    def fitted_weights(self, counts: Counts, words: Any) -> PerClass | None:
        """Return what a picture of each class counts for a classifier that is fitted at once; None: all the same."""
        # To be shown more often is to count for more.
        weights = balanced(counts, words) if self.oversamples else self.weights(counts, words)
        return None if (weights == weights[0]).all() else weights


def find(name: str) -> BalanceSpec:
    """Return the row called `name`; raise UnknownNameError when there is none."""
    if name not in BALANCES:
        raise UnknownNameError.of("balance", name, BALANCES, f"Expected one of {', '.join(BALANCES)}.")
    return BALANCES[name]


def balanced(counts: Counts, words: Any) -> PerClass:
    """Return weights by which all classes count the same."""
    return _of_mean_one(1 / counts, counts)


def _effective(counts: Counts, words: Any) -> PerClass:
    return _of_mean_one((1 - words.beta) / (1 - words.beta**counts), counts)


def _of_mean_one(weights: PerClass, counts: Counts) -> PerClass:
    return np.asarray(weights * counts.sum() / (weights * counts).sum())


def _log_prior(counts: Counts, words: Any) -> PerClass:
    return np.asarray(words.tau * np.log(counts / counts.sum()))


_ROWS = (
    BalanceSpec("none", "every picture counts the same"),
    BalanceSpec("class-weights", "a picture counts inversely to the size of its class", weights=balanced),
    BalanceSpec(
        "effective-number",
        "the same, large classes thought to repeat themselves (Cui et al. 2019)",
        "beta",
        weights=_effective,
    ),
    BalanceSpec(
        "logit-adjustment", "what is common is taken out of the answer (Menon et al. 2021)", "tau", offsets=_log_prior
    ),
    BalanceSpec("focal", "pictures that are classified well count for less (Lin et al. 2017)", "gamma", focal=True),
    BalanceSpec("oversampling", "pictures of rare classes are shown more often", oversamples=True),
)
BALANCES = {row.name: row for row in _ROWS}
