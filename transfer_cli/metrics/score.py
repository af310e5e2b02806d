"""One score with its 95 % confidence interval, and all scores of a run by part and name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.scores import Metrics


@dataclass(frozen=True)
class Score:
    """The value of a metric, and its 95 % confidence interval.

    Attributes
    ----------
    value : float
        NaN if the images cannot tell it; then `reason` says why.
    low, high : float or None
        The interval, if the metric has one.
    reason : str

    Examples
    --------
    >>> Score(0.8, 0.49, 0.94)
    0.800 (95 % interval 0.490 to 0.940)
    """

    value: float
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, metric: MetricValue) -> Score:
        """Return a metric as it is in metrics.json."""
        return cls(metric["value"], metric["low"], metric["high"], metric.get("reason", ""))

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        if self.reason:
            return f"undefined ({self.reason})"
        interval = "" if self.low is None else f" (95 % interval {self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{interval}"


Scores = Mapping[str, Mapping[str, Score]]
"""``{part: {metric: Score}}``."""


def scores_of(metrics: Metrics) -> Scores:
    """Return the metrics of each part as scores."""
    return {part: {name: Score.of(value) for name, value in values.items()} for part, values in metrics.items()}


def score_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the part, the name and the text of the main score of each part."""
    main = ("mean_average_precision", "accuracy")
    found = ((part, next((name for name in main if name in values), None)) for part, values in scores.items())
    return [(part, name.replace("_", " "), str(scores[part][name])) for part, name in found if name]
