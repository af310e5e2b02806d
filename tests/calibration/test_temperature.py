from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_cli.calibration.temperature import apply_temperature, balanced_class_weights, fit_temperature
from transfer_cli.metrics.scores import log_loss


def draw(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels drawn from probabilities, and predictions whose logits are too large or too small."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    predicted = np.exp(sharpness * logits)
    return truth, (predicted / predicted.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_fit_temperature_recovers_the_scale_of_the_logits(sharpness: float) -> None:
    truth, predicted = draw(20_000, sharpness)
    temperature = fit_temperature(truth, predicted)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    assert log_loss(truth, apply_temperature(predicted, temperature)) <= log_loss(truth, predicted) + 1e-6


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_fit_temperature_is_the_mildest_within_one_standard_error(sharpness: float) -> None:
    truth, predicted = draw(300, sharpness)
    chosen = fit_temperature(truth, predicted)
    assert chosen is not None
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 801))
    losses = np.array(
        [-np.log(apply_temperature(predicted, each)[np.arange(300), truth].astype(float)) for each in grid]
    )
    best = losses.mean(axis=1).argmin()
    assert min(1, grid[best]) - 0.01 <= chosen <= max(1, grid[best]) + 0.01

    def is_worse(temperature: float) -> bool:
        excess = losses[np.abs(grid - temperature).argmin()] - losses[best]
        return bool(excess.mean() > excess.std() / np.sqrt(300))

    assert not is_worse(chosen**1.02)
    assert is_worse(chosen**0.9)


def test_fit_temperature_of_calibrated_predictions_changes_little() -> None:
    temperatures = [fit_temperature(*draw(100, 1.0, seed)) for seed in range(40)]
    assert sum(temperature == 1 for temperature in temperatures) >= 20
    harm = []
    for seed, temperature in enumerate(temperatures):
        truth, predicted = draw(2000, 1.0, 1000 + seed)
        harm.append(log_loss(truth, apply_temperature(predicted, temperature)) - log_loss(truth, predicted))
    assert max(harm) < 0.02


def test_fit_temperature_with_class_weights() -> None:
    truth, predicted = draw(400, 2.0)
    of_one = truth == 1
    by_weight = fit_temperature(truth, predicted, np.array([0.0, 1.0, 0.0, 0.0]))
    assert by_weight == pytest.approx(fit_temperature(truth[of_one], predicted[of_one]), rel=1e-4)
    assert by_weight != pytest.approx(fit_temperature(truth, predicted), rel=0.02)
    weights = balanced_class_weights(np.array([0, 0, 0, 2]), 3)
    assert weights[0] * 3 == pytest.approx(weights[2])


@pytest.mark.parametrize("count", [40, 60, 200])
def test_fit_temperature_without_errors_stays_moderate(count: int) -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 3, count)
    logits = random.normal(0, 1, (count, 3)) + 7 * np.eye(3)[truth]
    powers = np.exp(logits)
    predicted = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    assert (predicted.argmax(axis=1) == truth).all()
    temperature = fit_temperature(truth, predicted)
    assert temperature is not None
    assert 0.7 <= temperature <= 1.5
    # A wrong prediction for a new image must not cost much more than before.
    wrong = predicted[:1][:, ::-1].copy()
    assert log_loss(truth[:1], apply_temperature(wrong, temperature)) < 1.5 * log_loss(truth[:1], wrong) + 0.5


def test_fit_temperature_of_few_images_is_none() -> None:
    truth, predicted = draw(29, 2.0)
    assert fit_temperature(truth, predicted) is None
    assert apply_temperature(predicted, None) is predicted


@given(st.integers(0, 100), st.floats(0.05, 20))
def test_apply_temperature_keeps_the_order_and_is_invertible(seed: int, temperature: float) -> None:
    _, predicted = draw(20, 1.0, seed)
    changed = apply_temperature(predicted, temperature)
    assert changed.dtype == np.float32
    assert changed.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (changed.argmax(axis=1) == predicted.argmax(axis=1)).all()
    if temperature >= 1:
        assert apply_temperature(changed, 1 / temperature) == pytest.approx(predicted, abs=1e-3)


def test_fit_temperature_with_zero_probabilities() -> None:
    # Zeros and ones, as random forests predict them; some are wrong.
    truth = np.arange(60) % 2
    predicted = np.eye(3, dtype=np.float32)[np.where(np.arange(60) < 12, 1 - truth, truth)]
    temperature = fit_temperature(truth, predicted)
    assert temperature is not None
    assert temperature > 1
    changed = apply_temperature(predicted, temperature)
    assert np.isfinite(changed).all()
    assert (changed[:, 2] == 0).all(), "a class with probability 0 has no training images"
