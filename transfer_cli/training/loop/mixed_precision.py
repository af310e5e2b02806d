"""Mixed precision (Micikevicius et al. 2018): layers compute with half the digits while a graph of them is traced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras

EXACT = "float32"


@contextmanager
def computing_in(policy: str, layers: Iterable[keras.Layer]) -> Iterator[None]:
    """Let layers compute under a policy in what is traced within the block; their weights stay float32.

    A graph keeps what it was traced with. So one network has a step that learns with half the digits, and is in all
    else, above all in what is scored and saved, one of float32.

    Parameters
    ----------
    policy : {"float32", "mixed_float16", "mixed_bfloat16"}
    layers : iterable of keras.Layer
    """
    if policy == EXACT:
        yield
        return
    chosen = [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]
    before = [layer.dtype_policy for layer in chosen]
    for layer in chosen:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer, kept in zip(chosen, before, strict=True):
            layer.dtype_policy = kept


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """Return the optimizer with a loss scale where gradients would otherwise become zero, or too large.

    A step whose gradients are too large for half the digits is left out, and the scale halved.
    """
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer
