"""Everything that is fitted on the validation set after training: thresholds, temperature and rejection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.calibration.temperature import apply_temperature, balanced_class_weights, fit_temperature
from transfer_cli.calibration.thresholds import fit_thresholds
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe

PartProbabilities = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row numbers in the split, and the probabilities of each."""


@dataclass(frozen=True)
class ValFit:
    """The result of fitting on val.

    Attributes
    ----------
    thresholds : ndarray of shape (k,) or None
        Multi-label: the minimum probability of each label.
    temperature : float or None
        None leaves the probabilities unchanged.
    rejection : Rejection or None
        Single-label: detects images that should be labelled ``unknown``.
    """

    thresholds: NDArray[np.float64] | None = None
    temperature: float | None = None
    rejection: Rejection | None = None

    def calibrate(self, scored: Mapping[str, PartProbabilities]) -> dict[str, PartProbabilities]:
        """Apply the temperature to the probabilities of each part."""
        return {
            part: (rows, apply_temperature(probabilities, self.temperature))
            for part, (rows, probabilities) in scored.items()
        }

    def save(self, directory: Path) -> None:
        """Write the rejection to a bundle; thresholds and temperature are in its manifest."""
        if self.rejection is not None:
            self.rejection.save(directory / REJECTION_FILE)


def fit(
    recipe: ExtractRecipe | FinetuneRecipe,
    split: Split,
    features: NDArray[np.float32],
    train: NDArray[np.int64],
    scored: Mapping[str, PartProbabilities],
    *,
    earlier: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> ValFit:
    """Fit on ``scored["val"]``; without it nothing is fitted. The test set is never used.

    Parameters
    ----------
    recipe : ExtractRecipe or FinetuneRecipe
    split : Split
    features : ndarray of shape (n, width), float32
        Features of all images, in the order of the split.
    train : ndarray of int
        Rows of the training images that new images are compared with.
    scored : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        Rows and uncalibrated probabilities of each part; for val they may be out-of-fold.
    earlier : tuple of two ndarrays, optional
        Features of train and of val by the network that predicted val, if the final network is another one.
    groups : ndarray of shape (n,), int, optional
        Group ids; images of one group are not compared with each other.
    """
    rows, probabilities = scored.get("val", (np.empty(0, np.int64), np.empty(0, np.float32)))
    if split.task != SINGLE_LABEL:
        halves = np.full(len(split.class_names), 0.5)
        return ValFit(fit_thresholds(split.truth()[rows], probabilities) if len(rows) else halves)
    if not len(rows):
        return ValFit()
    truth = split.truth()[rows]
    # A model trained with class balancing predicts for equally frequent classes.
    balanced = recipe.balance.method != "none"
    weights = balanced_class_weights(truth, len(split.class_names)) if balanced else None
    temperature = fit_temperature(truth, probabilities, weights)
    calibrated = apply_temperature(probabilities, temperature)
    rejection = Rejection.fit(features, train, rows, calibrated, truth, recipe.seed, earlier=earlier, groups=groups)
    return ValFit(None, temperature, rejection)
