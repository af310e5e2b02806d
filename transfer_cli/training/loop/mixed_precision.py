"""Mixed precision (Micikevicius et al. 2018): layers compute in half precision while a graph of them is traced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import keras

from transfer_cli.training.loop.context import StageContext

EXACT = "float32"


def network_in_precision(context: StageContext) -> AbstractContextManager[None]:
    """Return the block in which a network is traced for training; its logits stay float32, for an exact loss."""
    layers = [*context.network.features.layers, *context.network.head.layers[:-1]]
    return compute_in(context.recipe.hardware.precision, layers)


@contextmanager
def compute_in(policy: str, layers: Iterable[keras.Layer]) -> Iterator[None]:
    """Let layers compute under a precision policy in graphs traced within the block; their weights stay float32.

    A graph keeps the precision that it was traced with: only the training step computes in half precision, while the
    network that is scored and saved computes in float32.

    Parameters
    ----------
    policy : {"float32", "mixed_float16", "mixed_bfloat16"}
    layers : iterable of keras.Layer
    """
    if policy == EXACT:
        yield
        return
    changed = [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]
    before = [layer.dtype_policy for layer in changed]
    for layer in changed:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer, original in zip(changed, before, strict=True):
            layer.dtype_policy = original


def with_loss_scaling(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """Return the optimizer, for float16 with dynamic loss scaling, so that small gradients do not become zero.

    A step whose gradients overflow is skipped, and the scale is halved.
    """
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer
