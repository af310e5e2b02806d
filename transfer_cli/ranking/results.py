"""The result of a ranking: scores, costs, and the candidates that are equally good or on the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.skipped import Skipped
from transfer_cli.evaluation.comparison import SIGNIFICANT, holm, mcnemar
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.options import LOGME, By

COSTS = ("ms_per_image", "megabytes")
COLUMNS = (
    "backbone", "weights", "log_loss", "accuracy", "accuracy_low", "accuracy_high", "mean_average_precision", "logme",
    "within_noise", "ms_per_image", "parameters", "megabytes", "pareto_ms_per_image", "pareto_megabytes", "runtime",
    "left_out",
)  # fmt: skip


@dataclass(frozen=True)
class CandidateScore:
    """The score and cost of a candidate.

    Attributes
    ----------
    candidate : Candidate
    ms_per_image : float or None
        Time of the network on this machine, without decoding; None if it was not run.
    runtime : str
        The runtime that was timed.
    log_loss : float or None
        Out-of-fold log loss of the probe (a logistic regression), in nats.
    accuracy : MetricValue or None
        Out-of-fold accuracy; for multi-label, the share of images with all labels correct at a threshold of 0.5.
    mean_average_precision : float or None
        Multi-label only.
    logme : float or None
        LogME score (You et al. 2021).
    correct : ndarray of shape (images,), bool, or None
        Which images the probe classifies correctly, out of fold.
    left_out : str
        Reason why it cannot be recommended; empty if it can.

    References
    ----------
    K. You et al. (2021), "LogME: Practical Assessment of Pre-trained Models for Transfer Learning".
    """

    candidate: Candidate
    ms_per_image: float | None = None
    runtime: str = ""
    log_loss: float | None = None
    accuracy: MetricValue | None = None
    mean_average_precision: float | None = None
    logme: float | None = None
    correct: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    left_out: str = ""

    @property
    def name(self) -> str:
        """The name of the candidate."""
        return self.candidate.name

    @property
    def megabytes(self) -> float:
        """Size of its weights as float32."""
        return self.candidate.megabytes

    def score(self, by: By) -> float | None:
        """Return the score to rank by; higher is better."""
        return self.logme if by == LOGME else None if self.log_loss is None else -self.log_loss

    def summary(self) -> str:
        """Return cost and scores as one line."""
        items = [] if self.ms_per_image is None else [f"{self.ms_per_image:.1f} ms/image"]
        if self.left_out:
            items.append(self.left_out)
        if self.log_loss is not None:
            items.append(f"log loss {self.log_loss:.3f}")
        if self.mean_average_precision is not None:
            items.append(f"mean average precision {self.mean_average_precision:.3f}")
        elif self.accuracy is not None:
            items.append(f"accuracy {self.accuracy['value']:.3f}")
        if self.logme is not None:
            items.append(f"LogME {self.logme:.3f}")
        return ", ".join(items)


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best first; those that cannot be recommended come last.

    Attributes
    ----------
    source : Path
        The image folder.
    by : {"probe", "logme"}
    images : int
        Number of images that the scores are computed on.
    classes : int
    seed : int
    rows : tuple of CandidateScore
    skipped : tuple of Skipped
        Files of the folder that could not be read.
    """

    source: Path
    by: By
    images: int
    classes: int
    seed: int
    rows: tuple[CandidateScore, ...]
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[CandidateScore], by: By, **facts: Any) -> Ranking:
        """Return the ranking of candidates; equal scores are ordered by cost."""

        def order(row: CandidateScore) -> tuple[bool, bool, float, float, float]:
            score = row.score(by)
            cost = np.inf if row.ms_per_image is None else row.ms_per_image
            return bool(row.left_out), score is None, -(score or 0.0), row.megabytes, cost

        return cls(by=by, rows=tuple(sorted(rows, key=order)), **facts)

    @property
    def eligible(self) -> tuple[CandidateScore, ...]:
        """Those that can be recommended, the best first."""
        return tuple(row for row in self.rows if not row.left_out)

    @property
    def best(self) -> CandidateScore | None:
        """The best candidate, or None if none can be recommended."""
        return next(iter(self.eligible), None)

    @cached_property
    def within_noise(self) -> frozenset[Candidate]:
        """The best candidate, and all whose accuracy is not significantly lower.

        Tested as in `compare`: McNemar's exact test on the out-of-fold predictions, adjusted for the number of
        candidates (Holm 1979). Empty for LogME, which is a single number without a test.
        """
        if self.by == LOGME or self.best is None or self.best.correct is None:
            return frozenset()
        best = self.best.correct
        others = [(row.candidate, row.correct) for row in self.eligible[1:] if row.correct is not None]
        adjusted = holm([mcnemar(correct, best) for _, correct in others])
        equal = [
            candidate
            for (candidate, correct), p in zip(others, adjusted, strict=True)
            if p >= SIGNIFICANT or correct.sum() >= best.sum()
        ]
        return frozenset([self.best.candidate, *equal])

    def front(self, cost: str) -> frozenset[Candidate]:
        """Return the Pareto front: the candidates that no other one dominates in score and cost.

        Parameters
        ----------
        cost : {"ms_per_image", "megabytes"}
        """
        rows = [row for row in self.eligible if getattr(row, cost) is not None]
        scores = np.array([row.score(self.by) for row in rows], np.float64)
        on_front = pareto(np.array([getattr(row, cost) for row in rows], np.float64), scores)
        return frozenset(row.candidate for row, kept in zip(rows, on_front, strict=True) if kept)

    @property
    def cheaper(self) -> CandidateScore | None:
        """The fastest of those within noise of the best one; None if that is the best one itself."""
        equal = [row for row in self.eligible if row.candidate in self.within_noise and row.ms_per_image is not None]
        fastest = min(equal, key=lambda row: row.ms_per_image or 0.0, default=None)
        return None if fastest is self.best else fastest

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        return {
            "folder": str(self.source.resolve()),
            "by": self.by,
            "images": self.images,
            "classes": self.classes,
            "seed": self.seed,
            "best": self.best and {"backbone": self.best.candidate.backbone, "weights": self.best.candidate.weights},
            "candidates": [self._facts(row) for row in self.rows],
            "skipped": [vars(item) for item in self.skipped],
        }

    def _facts(self, row: CandidateScore) -> dict[str, Any]:
        fronts = {f"pareto_{cost}": row.candidate in self.front(cost) for cost in COSTS}
        return {
            **vars(row.candidate),
            **{name: getattr(row, name) for name in ("log_loss", "accuracy", "mean_average_precision", "logme")},
            "within_noise": row.candidate in self.within_noise,
            "ms_per_image": row.ms_per_image,
            "parameters": row.candidate.parameters,
            "megabytes": row.megabytes,
            **fronts,
            "runtime": row.runtime,
            "left_out": row.left_out,
        }

    def table(self) -> list[list[str]]:
        """Return the rows of ranking.csv."""
        rows = []
        for facts in map(self._facts, self.rows):
            accuracy = facts["accuracy"] or {}
            facts |= {f"accuracy_{bound}": accuracy.get(bound) for bound in ("low", "high")}
            facts["accuracy"] = accuracy.get("value")
            rows.append([_cell(facts[column]) for column in COLUMNS])
        return rows


def pareto(costs: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points no other point dominates, that is, equals in both numbers and beats in one.

    Parameters
    ----------
    costs : ndarray of shape (n,)
        Lower is better.
    scores : ndarray of shape (n,)
        Higher is better.

    Examples
    --------
    >>> pareto(np.array([1.0, 2.0, 3.0, 3.0]), np.array([0.5, 0.4, 0.9, 0.9])).tolist()
    [True, False, True, True]
    """
    no_worse = (costs[:, None] <= costs) & (scores[:, None] >= scores)
    better = (costs[:, None] < costs) | (scores[:, None] > scores)
    return np.asarray(~(no_worse & better).any(axis=0))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
