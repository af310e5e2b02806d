"""What each method does about classes of unequal sizes."""

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


def losses(method: str, truth: Any = None, **words: Any) -> np.ndarray[Any, Any]:
    balancing = Balancing.of(Balance(method=method, **words), TRUTH, 3)
    truth = np.eye(3, dtype=np.float32)[TRUTH] if truth is None else truth
    return np.asarray(balancing.losses(truth, LOGITS))


def cross_entropy(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(100), TRUTH]


def test_losses() -> None:
    plain = cross_entropy(LOGITS)
    np.testing.assert_allclose(losses("none"), plain, rtol=1e-5)
    np.testing.assert_allclose(losses("oversampling"), plain, rtol=1e-5)
    weights = np.array([100 / 180, 100 / 90, 100 / 30])
    np.testing.assert_allclose(losses("class-weights"), plain * weights[TRUTH], rtol=1e-5)
    prior = np.log([0.6, 0.3, 0.1])
    np.testing.assert_allclose(losses("logit-adjustment", tau=2.0), cross_entropy(LOGITS + 2 * prior), rtol=1e-4)
    np.testing.assert_allclose(losses("focal", gamma=1.5), plain * (1 - np.exp(-plain)) ** 1.5, rtol=1e-4, atol=1e-7)


def test_the_effective_number_lies_between_none_and_class_weights() -> None:
    plain = losses("none")
    np.testing.assert_allclose(losses("effective-number", beta=0.0), plain, rtol=1e-5)
    nearly = losses("effective-number", beta=0.999999)
    np.testing.assert_allclose(nearly, losses("class-weights"), rtol=1e-3)
    ratio = losses("effective-number", beta=0.97)[-1] / plain[-1]
    assert 1 < ratio < 100 / 30


@pytest.mark.parametrize("method", class_balancing.BALANCES)
def test_weights_are_one_on_average(method: str) -> None:
    balancing = Balancing.of(Balance(method=method), TRUTH, 3)
    assert balancing.weights[TRUTH].mean() == pytest.approx(1)
    fitted = balancing.fitted_weights
    assert (fitted is not None) == (method in ("class-weights", "effective-number", "oversampling"))
    assert fitted is None or fitted[TRUTH].mean() == pytest.approx(1)


def test_mixed_truths_count_by_their_shares() -> None:
    truth = np.tile(np.array([0.25, 0, 0.75], np.float32), (100, 1))
    ratio = losses("class-weights", truth) / losses("none", truth)
    np.testing.assert_allclose(ratio, 0.25 * 100 / 180 + 0.75 * 100 / 30, rtol=1e-5)


def test_every_class_is_drawn_as_often() -> None:
    random = np.random.default_rng(1)
    drawn = Balancing.of(Balance(method="oversampling"), TRUTH, 3).order(TRUTH, random)
    assert len(drawn) == 100
    assert sorted(np.bincount(TRUTH[drawn])) == [33, 33, 34]
    # Every rare picture is there before one comes twice as often as another.
    assert np.ptp(np.bincount(drawn)[90:]) <= 1
    plain = Balancing.of(Balance(), TRUTH, 3).order(TRUTH, random)
    assert sorted(plain) == list(range(100))


def test_a_sure_picture_has_a_gradient() -> None:
    logits = tf.Variable(np.array([[80.0, 0, 0]], np.float32))
    balancing = Balancing.of(Balance(method="focal", gamma=0.5), TRUTH, 3)
    target = np.array([[1, 0, 0]], np.float32)
    with tf.GradientTape() as tape:
        loss = balancing.losses(target, target, logits)
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()
