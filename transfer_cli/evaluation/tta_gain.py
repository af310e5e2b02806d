"""What test-time augmentation brings: a model with it and without on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.evaluation.comparison import SIGNIFICANT, compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.inference.tta_cost import TtaCost
from transfer_cli.metrics.intervals import Figure, points

_WITH, _WITHOUT = "with", "without"


@dataclass(frozen=True)
class Gain:
    """The same model on the same pictures with test-time augmentation and without.

    Attributes
    ----------
    method : str
    part : str
    images : int
    figures, figures_without : dict of str to Figure
        accuracy (of several labels a picture: all of them right), macro_f1, log_loss.
    differences : dict of str to Figure
        With it less without it, intervals by a paired bootstrap of the pictures.
    p : float
        Of McNemar's exact test, see comparison.
    cost : TtaCost
    """

    method: str
    part: str
    images: int
    figures: dict[str, Figure]
    figures_without: dict[str, Figure]
    differences: dict[str, Figure]
    p: float
    cost: TtaCost

    @classmethod
    def of(
        cls,
        method: str,
        part: str,
        class_names: Sequence[str],
        truth: NDArray[np.int64],
        augmented: NDArray[np.float32],
        without: NDArray[np.float32],
        cost: TtaCost,
        thresholds: NDArray[np.float64] | None = None,
    ) -> Gain:
        """Compare the answers of both.

        Parameters
        ----------
        method, part : str
        class_names : sequence of str
        truth : ndarray of shape (n,) or (n, k), int
            Column of the true class of each picture, or the indicator matrix of its labels.
        augmented, without : ndarray of shape (n, k), float32
        cost : TtaCost
        thresholds : ndarray of shape (k,), optional
            From which probability on a picture has a label, of a multi-label task: the same for both.
        """
        found = compare(
            [
                ModelPredictions.of_rows(name, part, class_names, truth, probabilities, thresholds)
                for name, probabilities in ((_WITH, augmented), (_WITHOUT, without))
            ]
        )
        (pair,) = found.pairs
        signed = {name: pair.difference(name, _WITH) for name in pair.differences}
        return cls(method, part, len(truth), found.figures[_WITH], found.figures[_WITHOUT], signed, pair.p, cost)

    def summary(self) -> list[str]:
        """Return it for a person, a line each for what it costs and what it brings."""
        accuracy, before = (each["accuracy"]["value"] for each in (self.figures, self.figures_without))
        told = "" if self.p < SIGNIFICANT else f", not distinguishable at n = {self.images}"
        gain = points(self.differences["accuracy"])
        loss, loss_before = (each["log_loss"]["value"] for each in (self.figures, self.figures_without))
        return [
            f"{self.method}: {self.cost.summary()}",
            f"{self.method} on {self.part}: accuracy {accuracy:.3f} instead of {before:.3f}: {gain}{told}; "
            f"log loss {loss:.3f} instead of {loss_before:.3f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
