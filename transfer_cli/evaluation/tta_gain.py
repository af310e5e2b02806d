"""The gain from test-time augmentation: a model with and without it on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.evaluation.comparison import SIGNIFICANT, compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.inference.tta import TtaCost
from transfer_cli.metrics.intervals import MetricValue, points_summary

_WITH, _WITHOUT = "with", "without"


@dataclass(frozen=True)
class TtaGain:
    """Metrics of a model with and without test-time augmentation (TTA) on the same images.

    Attributes
    ----------
    method : str
    part : str
    images : int
    metrics, metrics_without : dict of str to MetricValue
        accuracy (multi-label: all labels correct), macro_f1 and log_loss, with and without TTA.
    differences : dict of str to MetricValue
        With TTA minus without, with paired bootstrap intervals.
    p : float
        p-value of McNemar's exact test.
    cost : TtaCost
    """

    method: str
    part: str
    images: int
    metrics: dict[str, MetricValue]
    metrics_without: dict[str, MetricValue]
    differences: dict[str, MetricValue]
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
    ) -> TtaGain:
        """Compare the predictions of both.

        Parameters
        ----------
        method, part : str
        class_names : sequence of str
        truth : ndarray of shape (n,) or (n, k), int
            Column of the true class of each image, or the indicator matrix of its labels.
        augmented, without : ndarray of shape (n, k), float32
        cost : TtaCost
        thresholds : ndarray of shape (k,), optional
            Probability from which a label is assigned (multi-label), the same for both.
        """
        both = ((_WITH, augmented), (_WITHOUT, without))
        comparison = compare(
            [ModelPredictions.of_rows(name, part, class_names, truth, rows, thresholds) for name, rows in both]
        )
        (pair,) = comparison.pairs
        differences = {name: pair.difference(name, _WITH) for name in pair.differences}
        metrics, metrics_without = comparison.metrics[_WITH], comparison.metrics[_WITHOUT]
        return cls(method, part, len(truth), metrics, metrics_without, differences, pair.p, cost)

    def summary(self) -> list[str]:
        """Return two lines: what TTA costs, and what it gains."""
        accuracy, before = (each["accuracy"]["value"] for each in (self.metrics, self.metrics_without))
        verdict = "" if self.p < SIGNIFICANT else f", not distinguishable at n = {self.images}"
        gain = points_summary(self.differences["accuracy"])
        loss, loss_before = (each["log_loss"]["value"] for each in (self.metrics, self.metrics_without))
        return [
            f"{self.method}: {self.cost.summary()}",
            f"{self.method} on {self.part}: accuracy {accuracy:.3f} instead of {before:.3f}: {gain}{verdict}; "
            f"log loss {loss:.3f} instead of {loss_before:.3f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        return asdict(self)
