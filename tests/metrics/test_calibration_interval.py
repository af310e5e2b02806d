"""The interval of the expected calibration error covers the true error, and a bootstrap interval would not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from transfer_cli.metrics.calibration_interval import calibration_interval
from transfer_cli.metrics.intervals import Resamples
from transfer_cli.metrics.scores import BINS, bins_of, calibration_error

Part = tuple[np.ndarray, np.ndarray]
Gap = Callable[[np.ndarray], np.ndarray]
GAPS: dict[str, Gap] = {
    "calibrated": np.zeros_like,
    "overconfident": lambda confidence: np.full_like(confidence, -0.1),
    "only where confident": lambda confidence: -0.3 * (confidence > 0.95),
    "temperature": lambda confidence: 1 / (1 + (1 / confidence - 1) ** 0.6) - confidence,
}


def draw(random: np.random.Generator, images: int, gap: Gap) -> Part:
    """Return truth and probabilities of two classes, whose accuracy differs from the confidence by `gap`."""
    confidence = np.clip(random.beta(5, 1, images), 0.5, 0.999)
    correct = random.random(images) < np.clip(confidence + gap(confidence), 0, 1)
    return np.where(correct, 0, 1), np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)


def true_error(gap: Gap) -> float:
    truth, probabilities = draw(np.random.default_rng(0), 1_000_000, gap)
    confidence = probabilities.max(axis=1).astype(np.float64)
    accuracy = np.clip(confidence + gap(confidence), 0, 1)
    return float(np.abs(np.bincount(bins_of(confidence), accuracy - confidence, BINS)).sum() / len(truth))


@pytest.mark.parametrize("name", GAPS)
def test_calibration_interval_covers_the_true_error(name: str) -> None:
    random, true = np.random.default_rng(1), true_error(GAPS[name])
    covered = 0
    for _ in range(30):
        interval = calibration_interval(*draw(random, 300, GAPS[name]))
        covered += (interval["low"] or 0) <= true <= (interval["high"] or 0)
    assert covered >= 26


def test_bootstrap_interval_of_calibrated_probabilities_does_not_cover_zero() -> None:
    """Planted fault: why it is not the bootstrap."""
    truth, probabilities = draw(np.random.default_rng(4), 300, GAPS["calibrated"])
    weights = np.concatenate([*Resamples(300, 200).blocks()], axis=1).astype(int)
    errors = [calibration_error(truth[rows], probabilities[rows]) for rows in map(repeated, weights.T)]
    assert np.quantile(errors, 0.025) > 0.01
    assert calibration_interval(truth, probabilities)["low"] == pytest.approx(0, abs=1e-3)


def repeated(times: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(times)), times)


def test_calibration_interval_is_repeatable_and_holds_the_value() -> None:
    part = draw(np.random.default_rng(3), 50, GAPS["overconfident"])
    one = calibration_interval(*part)
    assert one == calibration_interval(*part)
    assert one["value"] == calibration_error(*part)
    assert one["low"] is not None
    assert one["high"] is not None
    assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1


def test_calibration_interval_of_one_image() -> None:
    one = calibration_interval(np.array([0]), np.array([[0.9, 0.1]], np.float32))
    assert one["low"] == pytest.approx(0, abs=1e-3)
    assert one["high"] is not None
    assert one["high"] > 0.3
