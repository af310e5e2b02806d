"""The mean of the weights of several networks, and which of them belong in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def mean_of(weights: NDArray[np.float32], members: Sequence[int]) -> NDArray[np.float32]:
    """Return the mean of some rows, summed in float64.

    Parameters
    ----------
    weights : ndarray of shape (m, parameters), float32
    members : sequence of int
    """
    total = np.zeros(weights.shape[1], np.float64)
    for member in members:
        total += weights[member]
    return np.asarray(total / len(members), np.float32)


def mean_temperature(temperatures: Sequence[float | None]) -> float | None:
    """Return the geometric mean of what logits are divided by; None leaves them as they are.

    Examples
    --------
    >>> round(mean_temperature([None, 4.0]), 6)
    2.0
    """
    if not any(temperatures):
        return None
    return float(np.exp(np.mean([np.log(each or 1.0) for each in temperatures])))


@dataclass(frozen=True)
class Tried:
    """A soup, and what it reached on val."""

    members: tuple[int, ...]
    score: float


def greedy(order: Sequence[int], score: Callable[[Sequence[int]], float]) -> Tried:
    """Return the greedy soup (Wortsman et al. 2022, recipe 1).

    Parameters
    ----------
    order : sequence of int
        Members, the best first.
    score : callable
        From members to what their soup reaches on val.
    """
    best = Tried((order[0],), score((order[0],)))
    for member in order[1:]:
        candidate = (*best.members, member)
        reached = score(candidate)
        if reached >= best.score:
            best = Tried(candidate, reached)
    return best
