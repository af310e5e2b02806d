"""Ways to rank images by how likely their label is wrong; `data check` uses the first, suspects.py compares them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.label_issues import Probabilities, Truth, self_confidence


def normalized_margin(truth: Truth, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the probability of the label less that of the most probable other class [1]_.

    In a multi-label task: the lowest of all labels, each against its opposite.

    References
    ----------
    .. [1] C. Northcutt, L. Jiang and I. Chuang, "Confident learning: estimating uncertainty in dataset labels",
       JAIR 70, 2021.
    """
    if truth.ndim == 2:
        return 2 * self_confidence(truth, probabilities) - 1
    others = probabilities.astype(np.float64)
    own = others[np.arange(len(truth)), truth].copy()
    others[np.arange(len(truth)), truth] = -np.inf
    return np.asarray(own - others.max(axis=1))


RANKINGS: dict[str, Callable[[Truth, Probabilities], NDArray[np.float64]]] = {
    "self-confidence": self_confidence,
    "normalized margin": normalized_margin,
}
