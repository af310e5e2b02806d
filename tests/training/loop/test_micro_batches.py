"""Micro-batches become smaller when memory runs out; the recipe's steps stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.finetuning import run_on
from tests.stage_training import PLAIN, RecordingProgress, checkpoint_of, event_names, max_abs_diff
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli.errors import InputError
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.loop.training_step import TrainingStep

pytestmark = pytest.mark.integration

SMALL = (*PLAIN, "stage.1.unfreeze=head", "batch_size=16", "head.dropout=0.3", "head.kind=mlp")


def test_micro_batches_chunks_fill_steps_and_halve() -> None:
    micro_batches = MicroBatches(6, 2)
    assert micro_batches.chunks(27) == [[6, 6], [6, 6], [3]]
    sizes = []
    for _ in range(3):
        micro_batches.halve()
        sizes.append((micro_batches.size, micro_batches.chunks(13)))
    assert sizes == [
        (3, [[3, 3, 3, 3], [1]]),
        (2, [[2] * 6, [1]]),
        (1, [[1] * 12, [1]]),
    ]
    with pytest.raises(InputError, match="too little memory for even one image per micro-batch") as caught:
        micro_batches.halve()
    assert caught.value.exit_code == 3
    assert "images.size" in str(caught.value.hint)


def out_of_memory_above(limit: list[int], inputs: tf.Tensor) -> tf.Tensor:
    """Return a batch unchanged, or fail like an allocator without memory if it has more than `limit` rows."""

    def allocate(rows: tf.Tensor) -> Any:
        if rows > limit[0]:
            raise MemoryError(f"no memory for {rows} images")
        return np.int32(0)

    allocated = tf.py_function(allocate, [tf.shape(inputs)[0]], tf.int32)
    with tf.control_dependencies([allocated]):
        return tf.identity(inputs)


@pytest.fixture
def memory_limit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let training steps and the scoring of val fail above a number of images, the item of the list."""
    forward, limit = TrainingStep.forward, [1000]
    monkeypatch.setattr(
        TrainingStep,
        "forward",
        lambda self, inputs, training=False: forward(self, out_of_memory_above(limit, inputs), training),
    )
    return limit


def test_finetune_out_of_memory_equals_smaller_batches(
    colours: Path, weights: Path, tmp_path: Path, memory_limit: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (*SMALL, f"backbone.weights={weights}")
    run_on(colours, tmp_path / "hand", *overrides, "batch_size=4", "hardware.accumulate=4")
    memory_limit[0], progress = 4, RecordingProgress()
    run_on(colours, tmp_path / "run", *overrides, progress=progress)
    assert max_abs_diff(checkpoint_of(tmp_path / "hand"), checkpoint_of(tmp_path / "run")) < 1e-6
    messages = [line for line in progress.warnings if "memory" in line]
    assert messages[1:] == [
        "out of memory with micro-batches of 8 images: continuing with batch_size = 4, hardware.accumulate = 4; "
        "each step still trains on 16 images"
    ]
    assert event_names(tmp_path / "run").count("out of memory") == len(messages) == 2

    # A resumed run starts with the micro-batches of its checkpoint.
    progress, stopped = RecordingProgress(), stop_before_each_epoch(monkeypatch)
    stopped.append(1)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, tmp_path / "stopped", *overrides, progress=progress)
    run_on(colours, tmp_path / "stopped", *overrides, progress=progress)
    assert same_end(tmp_path / "run", tmp_path / "stopped")
    assert [line for line in progress.warnings if "memory" in line] == messages


@pytest.mark.parametrize("restored", [True, False])
def test_finetune_out_of_memory_within_an_epoch_repeats_it_from_its_first_weights(
    restored: bool,
    colours: Path,
    weights: Path,
    tmp_path: Path,
    memory_limit: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault continues with the weights of the incomplete epoch."""
    overrides = (*PLAIN, "stage.1.unfreeze=head", "batch_size=4", f"backbone.weights={weights}")
    run_on(colours, tmp_path / "unbroken", *overrides)
    run, steps = TrainingStep.run, iter(range(1000))

    def shrinking(self: Any, *arguments: Any) -> Any:
        memory_limit[0] = 2 if next(steps) >= 7 else 4
        return run(self, *arguments)

    monkeypatch.setattr(TrainingStep, "run", shrinking)
    if not restored:
        set_weights, calls = ClassifierNetwork.set_weights, iter(range(1000))
        monkeypatch.setattr(
            ClassifierNetwork,
            "set_weights",
            lambda self, *arguments: set_weights(self, *arguments) if next(calls) else None,
        )
    run_on(colours, tmp_path / "run", *overrides)
    assert event_names(tmp_path / "run").count("out of memory") == 1
    same = max_abs_diff(checkpoint_of(tmp_path / "unbroken"), checkpoint_of(tmp_path / "run")) < 1e-5
    assert same == restored


def test_finetune_no_memory_for_one_image_raises(
    colours: Path, weights: Path, tmp_path: Path, memory_limit: list[int]
) -> None:
    memory_limit[0] = 0
    with pytest.raises(InputError, match="too little memory for even one image per micro-batch"):
        run_on(colours, tmp_path / "run", *SMALL, f"backbone.weights={weights}")
    assert event_names(tmp_path / "run").count("out of memory") == 4


def test_run_in_chunks_out_of_memory_returns_the_same_outputs() -> None:
    run = tf.function(lambda batch: out_of_memory_above([3], batch) * 2.0)
    micro_batches, batch = MicroBatches(16), np.arange(14, dtype=np.float32).reshape(7, 2)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        run(batch)
    np.testing.assert_array_equal(micro_batches.run_in_chunks(run)(batch), batch * 2)
    assert (micro_batches.size, micro_batches.halvings) == (2, 3)
