"""Mixed precision trains nearly the same weights, and the network that is saved computes in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from tests.finetuning import network_of, rows_of, run_on
from tests.stage_training import COUNT, PLAIN, max_abs_diff, stage_of, train, trained_weights
from transfer_cli.catalog.backbones import find
from transfer_cli.data.image_batches import batches
from transfer_cli.models.backbone import build
from transfer_cli.models.compile import inference_function
from transfer_cli.training.loop import mixed_precision
from transfer_cli.training.loop.mixed_precision import compute_in
from transfer_cli.training.loop.training_step import TrainingStep

pytestmark = pytest.mark.integration

FLOAT16 = ("hardware.precision=mixed_float16", "batch_size=1", "hardware.accumulate=2", "stage.1.learning_rate=1e-3")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_nearly_the_same_weights(
    policy: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A low loss scale, so that none of these few steps is skipped.
    original = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(mixed_precision.keras.optimizers, "LossScaleOptimizer", lambda inner: original(inner, 16.0))
    overrides = ("batch_size=4", "stage.1.learning_rate=1e-5")
    exact, mixed = (stage_of(weights, *overrides, f"hardware.precision={each}") for each in ("float32", policy))
    start = trained_weights(exact)
    losses = [train(trainer, 1, 2)[0] for trainer in (exact, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1), policy
    changes = [
        np.concatenate([(end - begin).ravel() for begin, end in zip(start, trained_weights(each), strict=True)])
        for each in (exact, mixed)
    ]
    cosine = float(changes[0] @ changes[1] / np.linalg.norm(changes[0]) / np.linalg.norm(changes[1]))
    assert 0.9 < cosine < 0.999999
    assert {variable.dtype for variable in mixed.step.variables} == {"float32"}


def test_finetune_mixed_precision_saves_and_scores_in_float32(colours: Path, weights: Path, tmp_path: Path) -> None:
    overrides = (f"backbone.weights={weights}", "hardware.precision=mixed_bfloat16")
    run_on(colours, tmp_path / "run", *PLAIN, *overrides)
    assert_exact(tmp_path / "run", colours)


def assert_exact(run: Path, colours: Path) -> None:
    """Assert that a bundle computes in float32, and that its predictions are those that were scored."""
    network = network_of(run)
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert {variable.dtype for variable in network.weights} == {"float32"}
    rows = rows_of(run / "predictions_test.csv")
    paths = [str(colours / row["path"]) for row in rows]
    images = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images
    written = np.array([[float(row[f"p_{name}"]) for name in ("blue", "green", "red")] for row in rows])
    np.testing.assert_allclose(written, inference_function(network)(images), atol=1e-6)


def test_finetune_network_left_in_half_precision_is_detected(
    colours: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault for the test above."""

    class LeftInHalfPrecision:
        def __init__(self, policy: str, layers: Any) -> None:
            for layer in layers:
                if not isinstance(layer, keras.layers.InputLayer):
                    layer.dtype_policy = policy

        def __enter__(self) -> None: ...
        def __exit__(self, *args: Any) -> None: ...

    monkeypatch.setattr(mixed_precision, "compute_in", LeftInHalfPrecision)
    overrides = (f"backbone.weights={weights}", "hardware.precision=mixed_bfloat16")
    run_on(colours, tmp_path / "run", *PLAIN, *overrides)
    with pytest.raises(AssertionError):
        assert_exact(tmp_path / "run", colours)


def test_compute_in_changes_layers_within_the_block_only() -> None:
    network = build(find(TINY), weights="none", size=TINY_SIZE)
    layers = network.layers[3:]
    for policy, dtype in {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16", "float32": "float32"}.items():
        with compute_in(policy, layers):
            assert network(np.zeros((1, TINY_SIZE, TINY_SIZE, 3), np.uint8)).dtype == dtype
        assert network(np.zeros((1, TINY_SIZE, TINY_SIZE, 3), np.uint8)).dtype == "float32"
    with pytest.raises(ZeroDivisionError), compute_in("mixed_float16", layers):
        raise ZeroDivisionError
    assert {layer.compute_dtype for layer in layers} == {"float32"}


@pytest.fixture
def large_loss_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the loss scale where gradients overflow, so that the first steps are skipped."""
    original = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(mixed_precision.keras.optimizers, "LossScaleOptimizer", lambda inner: original(inner, 2.0**22))


@pytest.mark.usefixtures("large_loss_scale")
@pytest.mark.parametrize("lost", [None, "scale"])
def test_optimizer_state_includes_the_loss_scale(lost: str | None, weights: Path) -> None:
    straight = stage_of(weights, *FLOAT16)
    start = trained_weights(straight)
    loss, _ = train(straight, 1)
    # Steps were skipped and the scale decreased; that is not a divergence.
    assert np.isfinite(loss)
    assert 1 < float(straight.step.optimizer.dynamic_scale) < 2.0**22
    assert max_abs_diff(start, trained_weights(straight)) > 0
    assert all(np.isfinite(array).all() for array in trained_weights(straight))
    state, values = straight.optimizer_state(), [np.asarray(variable) for variable in straight.step.variables]
    train(straight, 2)

    resumed = stage_of(weights, *FLOAT16)
    for variable, value in zip(resumed.step.variables, values, strict=True):
        variable.assign(value)
    resumed.set_optimizer_state(state)
    if lost:
        resumed.step.optimizer.dynamic_scale.assign(2.0**22)
    train(resumed, 2)
    pairs = zip(trained_weights(straight), trained_weights(resumed), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs) == (lost is None)


@pytest.mark.parametrize("lost", [10, 17])
def test_epoch_most_losses_not_finite_is_a_divergence(
    lost: int, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few skipped steps are normal with loss scaling."""
    run, numbers = TrainingStep.run, iter(range(COUNT))

    def planted(self: Any, *arguments: Any) -> Any:
        for loss, hits in run(self, *arguments):
            yield (np.nan if next(numbers) < lost else loss), hits

    monkeypatch.setattr(TrainingStep, "run", planted)
    loss, _ = train(stage_of(weights, "hardware.precision=mixed_float16", "batch_size=1"), 1)
    assert np.isfinite(loss) == (lost < COUNT / 2)
