"""What pictures of val say of a model beside its score: thresholds, how sure it should be, and what it cannot judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.rejection import REJECTION_FILE, Rejection
from transfer_cli.calibration.temperature import apply_temperature, fit_temperature, of_equal_classes
from transfer_cli.calibration.thresholds import fit_thresholds
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.split import Split
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe

Scored = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Row numbers in the split, and the probabilities of each."""


@dataclass(frozen=True)
class ValFit:
    """What was fitted on val.

    Attributes
    ----------
    thresholds : ndarray of shape (k,) or None
        From which probability on a picture has a label, of a multi-label task.
    temperature : float or None
        See calibration.fit_temperature; None leaves probabilities as they are.
    rejection : Rejection or None
        What tells whether a picture is one that the model can judge, of a single-label task.
    """

    thresholds: NDArray[np.float64] | None = None
    temperature: float | None = None
    rejection: Rejection | None = None

    def calibrated(self, scored: Mapping[str, Scored]) -> dict[str, Scored]:
        """Return the same answers with calibrated probabilities."""
        return {part: (rows, apply_temperature(given, self.temperature)) for part, (rows, given) in scored.items()}

    def save(self, directory: Path) -> None:
        """Write what is too long for a manifest."""
        if self.rejection is not None:
            self.rejection.save(directory / REJECTION_FILE)


def fit(
    recipe: ExtractRecipe | FinetuneRecipe,
    split: Split,
    features: NDArray[np.float32],
    train: NDArray[np.int64],
    scored: Mapping[str, Scored],
    *,
    earlier: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> ValFit:
    """Return what val says. Without a val part, and without out-of-fold answers, nothing is fitted: never on test.

    Parameters
    ----------
    recipe : ExtractRecipe or FinetuneRecipe
    split : Split
    features : ndarray of shape (n, width), float32
        Of all pictures, in the order of the split.
    train : ndarray of int
        The rows that new pictures are compared with.
    scored : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        For each part the row numbers in the split and the probabilities, as the model gives them.
    earlier : tuple of two ndarrays, optional
        Features of train and of val by the network that said the probabilities of val, where the model is another.
    groups : ndarray of shape (n,), int, optional
        Rows with the same number are relatives, which are not compared with one another.
    """
    rows, probabilities = scored.get("val", (np.empty(0, np.int64), np.empty(0, np.float32)))
    if split.task != SINGLE_LABEL:
        halves = np.full(len(split.class_names), 0.5)
        return ValFit(fit_thresholds(split.truth()[rows], probabilities) if len(rows) else halves)
    if not len(rows):
        return ValFit()
    truth = split.truth()[rows]
    # Where classes were balanced, probabilities are those of equally common ones.
    balanced = recipe.balance.method != "none"
    weights = of_equal_classes(truth, len(split.class_names)) if balanced else None
    temperature = fit_temperature(truth, probabilities, weights)
    sure = apply_temperature(probabilities, temperature)
    rejection = Rejection.fit(features, train, rows, sure, truth, recipe.seed, earlier=earlier, groups=groups)
    return ValFit(None, temperature, rejection)
