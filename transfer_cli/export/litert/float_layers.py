"""What of a graph stays exact when it learns to compute with eight bits; of an ensemble that is so in each member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

EARLY = 0.02
"""The first convolutions stay float32 up to this share of all weights: there rounding costs most, and they are few."""

Kind = Literal["convolution", "dense", "probabilities", "other"]


@dataclass(frozen=True)
class Step:
    """An operation of a graph.

    Attributes
    ----------
    kind : {"convolution", "dense", "probabilities", "other"}
        ``probabilities``: a softmax or a sigmoid.
    parents : tuple of int
        The operations whose results it takes, which come before it.
    weights : int
        Of a convolution.
    """

    kind: Kind
    parents: tuple[int, ...]
    weights: int = 0


def read_outs(steps: Sequence[Step]) -> list[int]:
    """Return the dense layers from which on all stays exact: the last, and of an ensemble each whose logits are read.

    Between one of these and its softmax there is at most its bias.
    """
    found = {at for at, step in enumerate(steps) if step.kind == "dense"}
    last = max(found, default=None)
    read = set()
    for step in steps:
        if step.kind == "probabilities":
            for parent in step.parents:
                read |= {parent} & found
                if steps[parent].kind == "other":
                    read |= {*steps[parent].parents} & found
    return sorted(read | ({last} if last is not None else set()))


def tail(steps: Sequence[Step]) -> list[int]:
    """Return the read-outs and all that takes what they give."""
    kept = set(read_outs(steps))
    for at, step in enumerate(steps):
        if kept & set(step.parents):
            kept.add(at)
    return sorted(kept)


def early(steps: Sequence[Step]) -> list[int]:
    """Return the first convolutions, and what is before them, of each network that a read-out reads."""
    last = set(tail(steps))
    branches = {frozenset(_above(steps, at) - last) for at in read_outs(steps) if not last & set(_above(steps, at))}
    found: set[int] = set()
    for branch in branches or {frozenset(range(len(steps)))}:
        convolutions = [at for at in sorted(branch) if steps[at].kind == "convolution"]
        count = count_early([steps[at].weights for at in convolutions])
        if count:
            found |= {at for at in branch if at <= convolutions[count - 1]}
    return sorted(found)


def count_early(sizes: Sequence[int]) -> int:
    """Return how many of the convolutions, of `sizes` weights in their order, have `EARLY` of all these weights."""
    return int(np.searchsorted(np.cumsum(sizes), EARLY * sum(sizes), side="right"))


def _above(steps: Sequence[Step], at: int) -> set[int]:
    """Return all that an operation takes anything from, at any remove."""
    found: set[int] = set()
    waiting = [*steps[at].parents]
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += steps[parent].parents
    return found
