"""Losses and sampling of each class balancing method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transfer_cli.catalog import class_balancing
from transfer_cli.recipe.sections import Balance
from transfer_cli.training.loop.class_balancing import Balancing

TRUTH = np.repeat([0, 1, 2], [60, 30, 10])
LOGITS = np.random.default_rng(0).normal(0, 2, (100, 3)).astype(np.float32)


def losses(method: str, truth: Any = None, **settings: Any) -> np.ndarray[Any, Any]:
    balancing = Balancing.of(Balance(method=method, **settings), TRUTH, 3)
    truth = np.eye(3, dtype=np.float32)[TRUTH] if truth is None else truth
    return np.asarray(balancing.losses(truth, LOGITS))


def cross_entropy(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(100), TRUTH]


def test_losses_of_each_method() -> None:
    plain = cross_entropy(LOGITS)
    np.testing.assert_allclose(losses("none"), plain, rtol=1e-5)
    np.testing.assert_allclose(losses("oversampling"), plain, rtol=1e-5)
    weights = np.array([100 / 180, 100 / 90, 100 / 30])
    np.testing.assert_allclose(losses("class-weights"), plain * weights[TRUTH], rtol=1e-5)
    prior = np.log([0.6, 0.3, 0.1])
    np.testing.assert_allclose(losses("logit-adjustment", tau=2.0), cross_entropy(LOGITS + 2 * prior), rtol=1e-4)
    np.testing.assert_allclose(losses("focal", gamma=1.5), plain * (1 - np.exp(-plain)) ** 1.5, rtol=1e-4, atol=1e-7)


def test_losses_effective_number_is_between_none_and_class_weights() -> None:
    plain = losses("none")
    np.testing.assert_allclose(losses("effective-number", beta=0.0), plain, rtol=1e-5)
    nearly = losses("effective-number", beta=0.999999)
    np.testing.assert_allclose(nearly, losses("class-weights"), rtol=1e-3)
    ratio = losses("effective-number", beta=0.97)[-1] / plain[-1]
    assert 1 < ratio < 100 / 30


@pytest.mark.parametrize("method", class_balancing.CLASS_BALANCING_METHODS)
def test_balancing_weights_are_one_on_average(method: str) -> None:
    balancing = Balancing.of(Balance(method=method), TRUTH, 3)
    assert balancing.weights[TRUTH].mean() == pytest.approx(1)
    fitted = balancing.weights_per_class
    assert (fitted is not None) == (method in ("class-weights", "effective-number", "oversampling"))
    assert fitted is None or fitted[TRUTH].mean() == pytest.approx(1)


def test_losses_mixed_targets_are_weighted_by_their_shares() -> None:
    truth = np.tile(np.array([0.25, 0, 0.75], np.float32), (100, 1))
    ratio = losses("class-weights", truth) / losses("none", truth)
    np.testing.assert_allclose(ratio, 0.25 * 100 / 180 + 0.75 * 100 / 30, rtol=1e-5)


def test_order_oversampling_draws_every_class_equally_often() -> None:
    random = np.random.default_rng(1)
    order = Balancing.of(Balance(method="oversampling"), TRUTH, 3).order(TRUTH, random)
    assert len(order) == 100
    assert sorted(np.bincount(TRUTH[order])) == [33, 33, 34]
    # Images of a rare class are drawn equally often, up to one.
    assert np.ptp(np.bincount(order)[90:]) <= 1
    plain = Balancing.of(Balance(), TRUTH, 3).order(TRUTH, random)
    assert sorted(plain) == list(range(100))


def test_losses_focal_of_a_certain_prediction_has_a_finite_gradient() -> None:
    logits = tf.Variable(np.array([[80.0, 0, 0]], np.float32))
    balancing = Balancing.of(Balance(method="focal", gamma=0.5), TRUTH, 3)
    target = np.array([[1, 0, 0]], np.float32)
    with tf.GradientTape() as tape:
        loss = balancing.losses(target, target, logits)
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()
