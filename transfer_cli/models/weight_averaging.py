"""Weight averaging (model soups, Wortsman et al. 2022): the mean of the weights of several networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_of(weights: NDArray[np.float32], members: Sequence[int]) -> NDArray[np.float32]:
    """Return the mean of the rows `members` of `weights`, float32 of shape (m, parameters), summed in float64."""
    total = np.zeros(weights.shape[1], np.float64)
    for member in members:
        total += weights[member]
    return np.asarray(total / len(members), np.float32)


def flat_weights(network: Any) -> NDArray[np.float32]:
    """Return all float weights of a Keras network as one row."""
    return np.concatenate([np.asarray(variable).ravel() for variable in _float_variables(network)])


def assign_weights(network: Any, row: NDArray[np.float32]) -> None:
    """Set the float weights of a Keras network from a row of `flat_weights`."""
    at = 0
    for variable in _float_variables(network):
        size = int(np.prod(variable.shape))
        variable.assign(row[at : at + size].reshape(variable.shape))
        at += size


def _float_variables(network: Any) -> list[Any]:
    return [variable for variable in network.weights if "float" in str(variable.dtype)]


def mean_temperature(temperatures: Sequence[float | None]) -> float | None:
    """Return the geometric mean of temperatures; None counts as 1.

    Examples
    --------
    >>> round(mean_temperature([None, 4.0]), 6)
    2.0
    """
    if not any(temperatures):
        return None
    return float(np.exp(np.mean([np.log(each or 1.0) for each in temperatures])))


@dataclass(frozen=True)
class SoupCandidate:
    """The members of a soup and its score on val."""

    members: tuple[int, ...]
    score: float


def greedy(order: Sequence[int], score: Callable[[Sequence[int]], float]) -> SoupCandidate:
    """Return the greedy soup (Wortsman et al. 2022, recipe 1).

    Parameters
    ----------
    order : sequence of int
        Members, best first.
    score : callable
        Returns the validation score of the soup of some members.
    """
    best = SoupCandidate((order[0],), score((order[0],)))
    for member in order[1:]:
        members = (*best.members, member)
        if (candidate_score := score(members)) >= best.score:
            best = SoupCandidate(members, candidate_score)
    return best
