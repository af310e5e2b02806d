"""Synthetic features with labels, whose learning curve is known."""

from __future__ import annotations

import numpy as np

from transfer_cli.training.setup.labelled_features import LabelledFeatures


def blobs(count: int, spread: float, classes: int = 4, width: int = 20, seed: int = 0) -> LabelledFeatures:
    """Return features of classes whose means overlap by `spread`; each image is a group of its own."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % classes
    features = random.normal(size=(classes, width))[truth] + random.normal(scale=spread, size=(count, width))
    return LabelledFeatures(features.astype(np.float32), truth, np.arange(count), classes, ())
