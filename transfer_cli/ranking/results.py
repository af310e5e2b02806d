"""Which backbone to start from: what each is worth on the pictures at hand, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import OutputError
from transfer_cli.evaluation.comparison import SIGNIFICANT, holm, mcnemar
from transfer_cli.io.atomic import write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.intervals import Figure
from transfer_cli.ranking.candidates import Candidate

By = Literal["probe", "logme"]
PROBE: By = "probe"
LOGME: By = "logme"
COSTS = ("milliseconds", "megabytes")
_COLUMNS = (
    "backbone", "weights", "log_loss", "accuracy", "accuracy_low", "accuracy_high", "mean_average_precision", "logme",
    "within_noise", "milliseconds", "parameters", "megabytes", "front_milliseconds", "front_megabytes", "runtime",
    "left_out",
)  # fmt: skip


@dataclass(frozen=True)
class CandidateScore:
    """What is known of a candidate.

    Attributes
    ----------
    candidate : Candidate
    milliseconds : float or None
        A picture through the network, on this machine; None where it was not run.
    runtime : str
        What it ran on.
    log_loss : float or None
        Of the probe, out of fold, in nats.
    accuracy : Figure or None
        Of the same; of a multi-label task the share of pictures all of whose labels are right at one half.
    mean_average_precision : float or None
        Of a multi-label task.
    logme : float or None
    right : ndarray of shape (pictures,), bool, or None
        Which pictures the probe has right, out of fold.
    left_out : str
        Why it cannot be picked; empty where it can.
    """

    candidate: Candidate
    milliseconds: float | None = None
    runtime: str = ""
    log_loss: float | None = None
    accuracy: Figure | None = None
    mean_average_precision: float | None = None
    logme: float | None = None
    right: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    left_out: str = ""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.candidate.name

    @property
    def megabytes(self) -> float:
        """Size of its weights as float32."""
        return self.candidate.megabytes

    def score(self, by: By) -> float | None:
        """Return what it is ranked by; higher is better."""
        return self.logme if by == LOGME else None if self.log_loss is None else -self.log_loss


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best first, then those that cannot be picked.

    Attributes
    ----------
    source : Path
        The folder of pictures.
    by : {"probe", "logme"}
    images : int
        How many the scores are of.
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
        """Return the ranking of some candidates; of equal ones the one with the lower cost goes first."""

        def place(row: CandidateScore) -> tuple[bool, bool, float, float, float]:
            score = row.score(by)
            cost = np.inf if row.milliseconds is None else row.milliseconds
            return bool(row.left_out), score is None, -(score or 0.0), row.megabytes, cost

        return cls(by=by, rows=tuple(sorted(rows, key=place)), **facts)

    @property
    def eligible(self) -> tuple[CandidateScore, ...]:
        """Those that can be picked, the best first."""
        return tuple(row for row in self.rows if not row.left_out)

    @property
    def best(self) -> CandidateScore | None:
        """The winner, or None where none can be picked."""
        return next(iter(self.eligible), None)

    @cached_property
    def within_noise(self) -> frozenset[Candidate]:
        """The candidates that have as many pictures right as the best one, as far as these can tell, and this itself.

        Judged as by `compare`: McNemar's exact test on the same pictures, out of fold, adjusted for the number of
        candidates (Holm 1979). Of LogME, which is one number of all pictures, nothing of the kind is known.
        """
        if self.by == LOGME or self.best is None or self.best.right is None:
            return frozenset()
        best = self.best.right
        others = [(row.candidate, row.right) for row in self.eligible[1:] if row.right is not None]
        adjusted = holm([mcnemar(right, best) for _, right in others])
        alike = [
            candidate
            for (candidate, right), p in zip(others, adjusted, strict=True)
            if p >= SIGNIFICANT or right.sum() >= best.sum()
        ]
        return frozenset([self.best.candidate, *alike])

    def front(self, cost: str) -> frozenset[Candidate]:
        """Return the candidates of which no other one is as good and costs less, or is better and costs as much.

        Parameters
        ----------
        cost : {"milliseconds", "megabytes"}
        """
        rows = [row for row in self.eligible if getattr(row, cost) is not None]
        scores = np.array([row.score(self.by) for row in rows], np.float64)
        kept = pareto(np.array([getattr(row, cost) for row in rows], np.float64), scores)
        return frozenset(row.candidate for row, stays in zip(rows, kept, strict=True) if stays)

    @property
    def cheaper(self) -> CandidateScore | None:
        """The quickest of those within noise of the best, where that is not the best itself."""
        alike = [row for row in self.eligible if row.candidate in self.within_noise and row.milliseconds is not None]
        quickest = min(alike, key=lambda row: row.milliseconds or 0.0, default=None)
        return None if quickest is self.best else quickest

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
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
        fronts = {f"front_{cost}": row.candidate in self.front(cost) for cost in COSTS}
        return {
            **vars(row.candidate),
            "log_loss": row.log_loss,
            "accuracy": row.accuracy,
            "mean_average_precision": row.mean_average_precision,
            "logme": row.logme,
            "within_noise": row.candidate in self.within_noise,
            "milliseconds": row.milliseconds,
            "parameters": row.candidate.parameters,
            "megabytes": row.megabytes,
            **fronts,
            "runtime": row.runtime,
            "left_out": row.left_out,
        }

    def table(self) -> list[list[str]]:
        """Return the rows of ranking.csv."""
        found = []
        for facts in map(self._facts, self.rows):
            accuracy = facts.pop("accuracy") or {"value": None, "low": None, "high": None}
            facts |= {
                "accuracy": accuracy["value"],
                "accuracy_low": accuracy["low"],
                "accuracy_high": accuracy["high"],
            }
            found.append([_cell(facts[column]) for column in _COLUMNS])
        return found


@dataclass(frozen=True)
class RankingDirectory:
    """A ranking on disk. Nobody else joins these names."""

    path: Path

    @classmethod
    def default(cls, folder: str) -> RankingDirectory:
        """Return ``runs/rank-FOLDER``."""
        return cls(Path("runs") / f"rank-{folder}")

    @property
    def ranking(self) -> Path:
        """All of it, JSON."""
        return self.path / "ranking.json"

    @property
    def table(self) -> Path:
        """One row a candidate, CSV."""
        return self.path / "ranking.csv"

    @property
    def plot(self) -> Path:
        """What the candidates are worth over what they cost, PNG."""
        return self.path / "pareto.png"

    @property
    def candidates(self) -> Path:
        """What is known of each candidate, one JSON file each, by which a ranking goes on."""
        return self.path / "candidates"

    def must_be_free(self, source: Path) -> None:
        """Raise OutputError unless a ranking of these pictures may be written here; nothing is changed."""
        another = "Choose another place with -o DIR."
        if self.path.resolve().is_relative_to(source.resolve()):
            raise OutputError(f"{self.path} would lie inside the folder of pictures {source}.", hint=another)
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file. Expected the name of a folder.")
        was = self._source()
        is_ours = self.candidates.is_dir() or was is not None
        if not is_ours and self.path.is_dir() and any(self.path.iterdir()):
            raise OutputError(f"{self.path} is not empty and holds no ranking.", hint=another)
        if was is not None and was != str(source.resolve()):
            raise OutputError(f"{self.path} holds the ranking of another folder, {was}.", hint=another)

    def write(self, ranking: Ranking) -> None:
        """Write ranking.json and ranking.csv."""
        write_json(self.ranking, ranking.to_dict())
        write_table(self.table, _COLUMNS, ranking.table())

    def _source(self) -> str | None:
        try:
            found = json.loads(self.ranking.read_text("utf-8"))["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) else None


def pareto(costs: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points no other one dominates: is as good in both and better in one.

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
