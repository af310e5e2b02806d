from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_cli.calibration.temperature import apply_temperature, fit_temperature, of_equal_classes
from transfer_cli.metrics.scores import log_loss


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return truth that follows some probabilities, and what a model says that is too sure or too timid."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    said = np.exp(sharpness * logits)
    return truth, (said / said.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_takes_out_what_made_probabilities_too_sure(sharpness: float) -> None:
    truth, said = drawn(20_000, sharpness)
    temperature = fit_temperature(truth, said)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    assert log_loss(truth, apply_temperature(said, temperature)) <= log_loss(truth, said) + 1e-6


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_it_is_the_mildest_that_pictures_cannot_tell_from_the_best(sharpness: float) -> None:
    truth, said = drawn(300, sharpness)
    chosen = fit_temperature(truth, said)
    assert chosen is not None
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 801))
    losses = np.array([-np.log(apply_temperature(said, each)[np.arange(300), truth].astype(float)) for each in grid])
    best = losses.mean(axis=1).argmin()
    assert min(1, grid[best]) - 0.01 <= chosen <= max(1, grid[best]) + 0.01

    def is_told(temperature: float) -> bool:
        worse = losses[np.abs(grid - temperature).argmin()] - losses[best]
        return bool(worse.mean() > worse.std() / np.sqrt(300))

    assert not is_told(chosen**1.02)
    assert is_told(chosen**0.9)


def test_chance_is_no_reason_to_change_anything() -> None:
    # Of probabilities that are right as they are, few pictures say now this and now that.
    found = [fit_temperature(*drawn(100, 1.0, seed)) for seed in range(40)]
    assert sum(temperature == 1 for temperature in found) >= 20
    harm = []
    for seed, temperature in enumerate(found):
        truth, said = drawn(2000, 1.0, 1000 + seed)
        harm.append(log_loss(truth, apply_temperature(said, temperature)) - log_loss(truth, said))
    assert max(harm) < 0.02


def test_weights_say_which_pictures_count() -> None:
    truth, said = drawn(400, 2.0)
    of_one = truth == 1
    by_weight = fit_temperature(truth, said, np.array([0.0, 1.0, 0.0, 0.0]))
    assert by_weight == pytest.approx(fit_temperature(truth[of_one], said[of_one]), rel=1e-4)
    assert by_weight != pytest.approx(fit_temperature(truth, said), rel=0.02)
    weights = of_equal_classes(np.array([0, 0, 0, 2]), 3)
    assert weights[0] * 3 == pytest.approx(weights[2])


@pytest.mark.parametrize("count", [40, 60, 200])
def test_answers_without_a_mistake_are_no_reason_to_be_certain(count: int) -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 3, count)
    logits = random.normal(0, 1, (count, 3)) + 7 * np.eye(3)[truth]
    powers = np.exp(logits)
    said = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    assert (said.argmax(axis=1) == truth).all()
    temperature = fit_temperature(truth, said)
    assert temperature is not None
    assert 0.7 <= temperature <= 1.5
    # One new picture that is wrong must not cost more than it would have.
    wrong = said[:1][:, ::-1].copy()
    assert log_loss(truth[:1], apply_temperature(wrong, temperature)) < 1.5 * log_loss(truth[:1], wrong) + 0.5


def test_too_few_pictures_say_nothing() -> None:
    truth, said = drawn(29, 2.0)
    assert fit_temperature(truth, said) is None
    assert apply_temperature(said, None) is said


@given(st.integers(0, 100), st.floats(0.05, 20))
def test_classes_keep_their_order_and_the_way_back_is_open(seed: int, temperature: float) -> None:
    _, said = drawn(20, 1.0, seed)
    changed = apply_temperature(said, temperature)
    assert changed.dtype == np.float32
    assert changed.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (changed.argmax(axis=1) == said.argmax(axis=1)).all()
    if temperature >= 1:
        assert apply_temperature(changed, 1 / temperature) == pytest.approx(said, abs=1e-3)


def test_certain_answers_do_not_break_it() -> None:
    # As a forest gives them: zeros and ones, some of them wrong.
    truth = np.arange(60) % 2
    said = np.eye(3, dtype=np.float32)[np.where(np.arange(60) < 12, 1 - truth, truth)]
    temperature = fit_temperature(truth, said)
    assert temperature is not None
    assert temperature > 1
    changed = apply_temperature(said, temperature)
    assert np.isfinite(changed).all()
    assert (changed[:, 2] == 0).all(), "a class with no probability at all was never learnt"
