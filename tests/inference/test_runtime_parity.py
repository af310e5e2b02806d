"""What would be wrong with a graph is found, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.inference.runtime_parity import disagreement

RANDOM = np.random.default_rng(3)
FEATURES = np.abs(RANDOM.normal(1, 0.5, (32, 64))).astype(np.float32)
PROBABILITIES = RANDOM.dirichlet(np.ones(4), 32).astype(np.float32)


def test_rounding_agrees() -> None:
    assert disagreement(FEATURES, FEATURES * np.float32(1 + 1e-6)) is None
    assert disagreement(PROBABILITIES, PROBABILITIES + np.float32(1e-6), classes=True) is None


def test_features_of_random_weights_that_tell_nothing_apart_agree() -> None:
    same = np.repeat(FEATURES[:1], 8, axis=0) * np.float32(1e-18)
    assert disagreement(same, same * np.float32(1 + 1e-6)) is None


def test_dead_features_agree() -> None:
    assert disagreement(np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.repeat(FEATURES[:1], 32, axis=0), "cosine"),
        (np.repeat(FEATURES.mean(axis=0, keepdims=True), 32, axis=0), "cosine"),
        (FEATURES[::-1], "cosine"),
        (FEATURES[:, ::-1], "cosine"),
        (FEATURES[:, :63], "shape"),
        (FEATURES * np.float32(1.2), "off by"),
        (np.where(FEATURES > 0.5, FEATURES, np.float32(np.nan)), "finite"),
    ],
    ids=["one picture", "the mean", "another order", "swapped", "narrow", "scaled", "not a number"],
)
def test_faults_are_found(given: np.ndarray, reason: str) -> None:
    assert reason in (disagreement(FEATURES, given) or "")


def test_an_ignored_picture_is_found_where_features_are_alike() -> None:
    alike = 1 + 0.005 * FEATURES
    ignored = np.repeat(alike.mean(axis=0, keepdims=True), 32, axis=0)
    cosines = (alike * ignored).sum(axis=1) / np.linalg.norm(alike, axis=1) / np.linalg.norm(ignored, axis=1)
    assert cosines.min() > 0.9999
    assert "of what pictures differ by" in (disagreement(alike, ignored) or "")


def test_another_class_is_found() -> None:
    expected = np.array([[0.5004, 0.4996], [0.9, 0.1]], np.float32)
    given = np.array([[0.4998, 0.5002], [0.9, 0.1]], np.float32)
    assert disagreement(expected, given) is None
    assert disagreement(expected, given, classes=True) == "1 of 2 pictures get another class"
    equals = np.array([[0.50001, 0.49999], [0.9, 0.1]], np.float32)
    assert disagreement(equals, equals[:, ::-1] * np.array([[1], [0]]) + equals * [[0], [1]], classes=True) is None


def test_half_the_digits_may_be_off_by_more() -> None:
    off = FEATURES * (1 + RANDOM.normal(0, 0.01, FEATURES.shape)).astype(np.float32)
    assert disagreement(FEATURES, off, "f32")
    assert disagreement(FEATURES, off, "bf16") is None
