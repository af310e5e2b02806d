"""The learning rate of each step of a stage."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tests.stage_training import stage_of
from transfer_cli.training.loop.checkpoints import State

DECAY = 0.25


def test_inverse_time_is_the_schedule_of_keras(weights: Path) -> None:
    schedule = ("stage.1.schedule=inverse-time", f"stage.1.inverse_time_decay={DECAY}", "stage.1.warmup=0")
    trainer = stage_of(weights, "batch_size=8", *schedule)
    per_epoch = trainer.steps_per_epoch
    rates = [
        trainer.learning_rate(State("", done=done), (step + 0.5) / per_epoch)
        for done in range(3)
        for step in range(per_epoch)
    ]
    keras_schedule = keras.optimizers.schedules.InverseTimeDecay(0.05, decay_steps=4, decay_rate=4 * DECAY)
    assert rates == pytest.approx([float(keras_schedule(step)) for step in range(3 * per_epoch)])
    assert len(set(rates)) == len(rates) == 12
