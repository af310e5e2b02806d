"""Which operations of a graph stay float32 when it is quantized to int8; in an ensemble, those of each member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

EARLY_SHARE = 0.02
"""The first convolutions stay float32 up to this share of all weights: they are few, and rounding costs most there."""

Kind = Literal["convolution", "pooling", "absolute", "dense", "probabilities", "other"]


@dataclass(frozen=True)
class Operation:
    """An operation of a graph.

    Attributes
    ----------
    kind : {"convolution", "pooling", "absolute", "dense", "probabilities", "other"}
        ``probabilities`` is a softmax or a sigmoid.
    parents : tuple of int
        Indices of the operations whose outputs it reads; they come before it.
    weights : int
        Number of weights of a convolution.
    """

    kind: Kind
    parents: tuple[int, ...]
    weights: int = 0


def logit_layers(operations: Sequence[Operation]) -> list[int]:
    """Return the last dense layer and, in an ensemble, each dense layer that gives the logits of a member.

    Between such a layer and its softmax or sigmoid there is at most its bias.
    """
    dense = {index for index, operation in enumerate(operations) if operation.kind == "dense"}
    last = max(dense, default=None)
    result = set()
    for operation in operations:
        if operation.kind == "probabilities":
            for parent in operation.parents:
                result |= {parent} & dense
                if operations[parent].kind == "other":
                    result |= {*operations[parent].parents} & dense
    return sorted(result | ({last} if last is not None else set()))


def tail(operations: Sequence[Operation]) -> list[int]:
    """Return the logit layers and every operation that depends on one."""
    selected = set(logit_layers(operations))
    for index, operation in enumerate(operations):
        if selected & set(operation.parents):
            selected.add(index)
    return sorted(selected)


def roots(operations: Sequence[Operation]) -> list[int]:
    """Return the operations from the poolings to the square roots of pooled features, and those after them.

    A root enlarges the rounding of small numbers. Only roots of absolute values are of features.
    """
    selected: set[int] = set()
    pending = [index for index, operation in enumerate(operations) if operation.kind == "absolute"]
    while pending:
        index = pending.pop()
        if index not in selected and operations[index].kind != "convolution":
            selected.add(index)
            pending += () if operations[index].kind == "pooling" else operations[index].parents
    for index, operation in enumerate(operations):
        if selected & set(operation.parents):
            selected.add(index)
    return sorted(selected)


def early(operations: Sequence[Operation]) -> list[int]:
    """Return the first convolutions, and the operations before them, of each network below a logit layer."""
    last = set(tail(operations))
    networks = set()
    for index in logit_layers(operations):
        ancestors = _ancestors(operations, index)
        if not last & ancestors:
            networks.add(frozenset(ancestors))
    selected: set[int] = set()
    for network in networks or {frozenset(range(len(operations)))}:
        convolutions = [index for index in sorted(network) if operations[index].kind == "convolution"]
        count = count_early([operations[index].weights for index in convolutions])
        if count:
            selected |= {index for index in network if index <= convolutions[count - 1]}
    return sorted(selected)


def count_early(sizes: Sequence[int]) -> int:
    """Return how many of the first convolutions, with `sizes` weights each, have `EARLY_SHARE` of all their weights."""
    return int(np.searchsorted(np.cumsum(sizes), EARLY_SHARE * sum(sizes), side="right"))


def _ancestors(operations: Sequence[Operation], index: int) -> set[int]:
    """Return every operation that an operation depends on."""
    result: set[int] = set()
    pending = [*operations[index].parents]
    while pending:
        parent = pending.pop()
        if parent not in result:
            result.add(parent)
            pending += operations[parent].parents
    return result
