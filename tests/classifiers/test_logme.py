"""LogME beside the greatest log evidence that a search finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from transfer_cli.classifiers.logme import logme


def evidence(features: np.ndarray, labels: np.ndarray, alpha: float, beta: float) -> float:
    """Return the log density of labels that are normal with this covariance: the weights integrated out."""
    count = len(labels)
    covariance = np.eye(count) / beta + features @ features.T / alpha
    _, log_determinant = np.linalg.slogdet(covariance)
    distance = labels @ np.linalg.solve(covariance, labels)
    return float(-(count * np.log(2 * np.pi) + log_determinant + distance) / 2 / count)


def greatest(features: np.ndarray, labels: np.ndarray) -> float:
    def loss(logs: np.ndarray) -> float:
        # With more features than pictures the noise may be none at all.
        return -evidence(features, labels, *np.exp(np.clip(logs, -20, 20)))

    starts = [(a, b) for a in (-3.0, 0.0, 4.0) for b in (-1.0, 2.0)]
    return -min(minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6}).fun for start in starts)


def example(rows: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features, of which a few say the class."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, width)) + 0.5
    truth = (features[:, :3] @ random.normal(size=(3, 3)) + 0.3 * random.normal(size=(rows, 3))).argmax(axis=1)
    return features.astype(np.float32), truth


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (40, 40), (30, 50)])
def test_logme_equals_maximum_of_the_evidence(rows: int, width: int) -> None:
    features, truth = example(rows, width)
    labels = np.eye(3)[truth]
    scaled = features.astype(np.float64) / np.sqrt((features.astype(np.float64) ** 2).mean())
    expected = np.mean([greatest(scaled, column) for column in labels.T])
    assert logme(features, truth) == pytest.approx(expected, abs=1e-5)
    # What is reached at other precisions is less by more than the tolerance.
    other = np.mean([evidence(scaled, column, 3.0, 1.0) for column in labels.T])
    assert other < expected - 1e-3


def test_logme_multi_label_uses_columns() -> None:
    features, truth = example(60, 8)
    assert logme(features, np.eye(3, dtype=np.int64)[truth]) == logme(features, truth)


@pytest.mark.parametrize("factor", [1e-12, 1e6])
def test_logme_is_independent_of_feature_scale(factor: float) -> None:
    features, truth = example(60, 8)
    assert logme(features * np.float32(factor), truth) == pytest.approx(logme(features, truth), abs=1e-6)


def test_logme_informative_features_score_higher() -> None:
    features, truth = example(80, 8)
    shuffled = np.random.default_rng(1).permutation(truth)
    assert logme(features, truth) > logme(features, shuffled) + 0.05


def test_logme_constant_features_are_finite() -> None:
    _, truth = example(20, 4)
    assert np.isfinite(logme(np.ones((20, 4), np.float32), truth))
    assert np.isfinite(logme(np.zeros((20, 4), np.float32), truth))
