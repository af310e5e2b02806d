"""Methods for class imbalance in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.lookup import lookup

Counts = NDArray[np.int64]
PerClass = NDArray[np.float64]


def _no_weights(counts: Counts, settings: Any) -> PerClass:
    return np.ones(len(counts))


def _no_offsets(counts: Counts, settings: Any) -> PerClass:
    return np.zeros(len(counts))


@dataclass(frozen=True)
class ClassBalancingSpec:
    """A method for class imbalance.

    Attributes
    ----------
    name : str
    setting : str
        The setting of the recipe section ``balance`` that only this method uses; empty if there is none.
    weights : callable
        ``weights(counts, settings)`` returns the loss weight of an image of each class, with a mean of 1 over the
        images. `counts` are the training images of each class, `settings` the recipe section.
    offsets : callable
        ``offsets(counts, settings)`` returns what is added to each class's logit during training only.
    focal : bool
        Whether the focal loss is used.
    oversamples : bool
        Whether every class is drawn equally often.
    """

    name: str
    setting: str = ""
    weights: Callable[[Counts, Any], PerClass] = _no_weights
    offsets: Callable[[Counts, Any], PerClass] = _no_offsets
    focal: bool = False
    oversamples: bool = False

    def weights_per_class(self, counts: Counts, settings: Any) -> PerClass | None:
        """Return the weight of an image of each class for a scikit-learn classifier; None if all are equal."""
        # Without epochs, a class that is drawn more often is a class with a larger weight.
        weights = balanced(counts, settings) if self.oversamples else self.weights(counts, settings)
        return None if (weights == weights[0]).all() else weights


def find(name: str) -> ClassBalancingSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(CLASS_BALANCING_METHODS, "class balancing method", name)


def balanced(counts: Counts, settings: Any) -> PerClass:
    """Return weights that give all classes the same total weight."""
    return _with_mean_one(1 / counts, counts)


def _effective_number(counts: Counts, settings: Any) -> PerClass:
    return _with_mean_one((1 - settings.beta) / (1 - settings.beta**counts), counts)


def _with_mean_one(weights: PerClass, counts: Counts) -> PerClass:
    return np.asarray(weights * counts.sum() / (weights * counts).sum())


def _log_prior(counts: Counts, settings: Any) -> PerClass:
    return np.asarray(settings.tau * np.log(counts / counts.sum()))


_ROWS = (
    ClassBalancingSpec("none"),
    # Weights inversely proportional to the class size.
    ClassBalancingSpec("class-weights", weights=balanced),
    # Like class-weights, with less weight for small classes (Cui et al. 2019).
    ClassBalancingSpec("effective-number", "beta", weights=_effective_number),
    # Class frequencies taken out of the logits (Menon et al. 2021).
    ClassBalancingSpec("logit-adjustment", "tau", offsets=_log_prior),
    # Well-classified images get less weight (Lin et al. 2017).
    ClassBalancingSpec("focal", "gamma", focal=True),
    # Images of rare classes are drawn more often.
    ClassBalancingSpec("oversampling", oversamples=True),
)
CLASS_BALANCING_METHODS = {row.name: row for row in _ROWS}
