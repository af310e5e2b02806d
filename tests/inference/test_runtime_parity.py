"""The comparison of a converted graph with Keras detects every kind of fault."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.inference.runtime_parity import parity_fault

RANDOM = np.random.default_rng(3)
FEATURES = np.abs(RANDOM.normal(1, 0.5, (32, 64))).astype(np.float32)
PROBABILITIES = RANDOM.dirichlet(np.ones(4), 32).astype(np.float32)


def test_parity_of_rounding_errors() -> None:
    assert parity_fault(FEATURES, FEATURES * np.float32(1 + 1e-6)) is None
    assert parity_fault(PROBABILITIES, PROBABILITIES + np.float32(1e-6), classes=True) is None


def test_parity_of_equal_features_for_all_images() -> None:
    same = np.repeat(FEATURES[:1], 8, axis=0) * np.float32(1e-18)
    assert parity_fault(same, same * np.float32(1 + 1e-6)) is None


def test_parity_of_zero_features() -> None:
    assert parity_fault(np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.repeat(FEATURES[:1], 32, axis=0), "cosine"),
        (np.repeat(FEATURES.mean(axis=0, keepdims=True), 32, axis=0), "cosine"),
        (FEATURES[::-1], "cosine"),
        (FEATURES[:, ::-1], "cosine"),
        (FEATURES[:, :63], "shape"),
        (FEATURES * np.float32(1.2), "deviation"),
        (np.where(FEATURES > 0.5, FEATURES, np.float32(np.nan)), "finite"),
    ],
    ids=["one image", "the mean", "another order", "swapped", "narrow", "scaled", "not a number"],
)
def test_parity_fault_is_detected(given: np.ndarray, reason: str) -> None:
    assert reason in (parity_fault(FEATURES, given) or "")


def test_parity_fault_of_ignored_input_with_similar_features() -> None:
    similar = 1 + 0.005 * FEATURES
    ignored = np.repeat(similar.mean(axis=0, keepdims=True), 32, axis=0)
    cosines = (similar * ignored).sum(axis=1) / np.linalg.norm(similar, axis=1) / np.linalg.norm(ignored, axis=1)
    assert cosines.min() > 0.9999
    assert "of the spread between images" in (parity_fault(similar, ignored) or "")


def test_parity_fault_of_a_changed_label() -> None:
    expected = np.array([[0.5004, 0.4996], [0.9, 0.1]], np.float32)
    given = np.array([[0.4998, 0.5002], [0.9, 0.1]], np.float32)
    assert parity_fault(expected, given) is None
    assert parity_fault(expected, given, classes=True) == "1 of 2 images get another label"
    equals = np.array([[0.50001, 0.49999], [0.9, 0.1]], np.float32)
    assert parity_fault(equals, equals[:, ::-1] * np.array([[1], [0]]) + equals * [[0], [1]], classes=True) is None


def test_parity_of_bf16_allows_larger_deviations() -> None:
    off = FEATURES * (1 + RANDOM.normal(0, 0.01, FEATURES.shape)).astype(np.float32)
    assert parity_fault(FEATURES, off, "f32")
    assert parity_fault(FEATURES, off, "bf16") is None
