"""The probe of rankings: scores are out of fold, and a group is in one fold."""

from __future__ import annotations

import numpy as np
import pytest

from tests.learning_curves.synthetic import blobs
from transfer_cli.ranking.probe import cross_validate


def test_cross_validate_random_labels_are_at_chance_level() -> None:
    images = blobs(60, 1.0, width=100)
    truth = np.tile(np.random.default_rng(3).permutation(images.truth), 2)
    features, groups = np.tile(images.features, (2, 1)), np.tile(images.groups, 2)
    # Chance level 0.25.
    assert cross_validate(features, truth, groups, 4, 0).accuracy["value"] < 0.4
    # Planted fault: with a copy of each image in another fold, their labels are recognised.
    assert cross_validate(features, truth, np.arange(120), 4, 0).accuracy["value"] > 0.8


def test_cross_validate_multi_label_has_mean_average_precision() -> None:
    images = blobs(80, 0.5)
    labels = np.eye(4, dtype=np.int64)[images.truth]
    score = cross_validate(images.features, labels, images.groups, 4, 0)
    assert score.mean_average_precision is not None
    assert score.mean_average_precision > 0.95
    assert score.accuracy["value"] == pytest.approx(score.correct.mean())
    assert cross_validate(images.features, images.truth, images.groups, 4, 0).mean_average_precision is None
