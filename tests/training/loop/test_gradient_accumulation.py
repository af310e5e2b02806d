"""Accumulated gradients of micro-batches are one step of the whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.stage_training import max_abs_diff, stage_of, train, trained_weights
from transfer_cli.training.loop.gradient_accumulation import GradientAccumulator

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_accumulate_two_half_batches_equal_one_batch(
    optimizer: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"stage.1.optimizer={optimizer}", "stage.1.learning_rate=0.01", "stage.1.gradient_clip=0.5")
    overrides += ("stage.1.label_smoothing=0.1", "balance.method=class-weights", "stage.1.schedule=cosine")
    one, two, half = (
        stage_of(weights, *overrides, *more)
        for more in (["batch_size=16"], ["batch_size=8", "hardware.accumulate=2"], ["batch_size=8"])
    )
    # 27 images: the last step of an epoch is smaller, and its last micro-batch still smaller.
    assert (one.steps_per_epoch, two.steps_per_epoch, half.steps_per_epoch) == (2, 2, 4)
    results = [train(trainer, 1, 2) for trainer in (one, two, half)]
    assert max_abs_diff(trained_weights(one), trained_weights(two)) < 1e-5
    assert max_abs_diff(trained_weights(one), trained_weights(half)) > 1e-4
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)

    # The planted fault: all micro-batches have the same weight, as in Keras's own accumulation.
    accumulate = GradientAccumulator.accumulate
    monkeypatch.setattr(
        GradientAccumulator,
        "accumulate",
        lambda self, inputs, truth, rows: accumulate(self, inputs, truth, len(inputs) * -(-rows // 8)),
    )
    unweighted = stage_of(weights, *overrides, "batch_size=8", "hardware.accumulate=2")
    train(unweighted, 1, 2)
    assert max_abs_diff(trained_weights(one), trained_weights(unweighted)) > 1e-4
