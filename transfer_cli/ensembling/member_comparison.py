"""Compare an ensemble with its members: accuracy, disagreement and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.ensembling.members import MemberPredictions, Members
from transfer_cli.errors import RunError
from transfer_cli.evaluation.comparison import compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.inference.latency import InferenceCost, MemberCosts
from transfer_cli.io.atomic import write_json
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.metrics.intervals import MetricValue, points_summary
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_directory import RunDirectory

_ENSEMBLE = "the ensemble"
_UNKNOWN: MetricValue = {"value": None, "low": None, "high": None}  # type: ignore[typeddict-item]


@dataclass(frozen=True)
class MemberRow:
    """A member compared with the ensemble.

    Attributes
    ----------
    name : str
    run : str
        Path of the run.
    weight : float
        Weight of its probabilities in the ensemble.
    accuracy : MetricValue
    gain : MetricValue
        Accuracy of the ensemble minus that of the member, with a paired bootstrap interval.
    p : float
        p-value of McNemar's exact test between both, after Holm's correction.
    cost : InferenceCost
    """

    name: str
    run: str
    weight: float
    accuracy: MetricValue
    gain: MetricValue
    p: float
    cost: InferenceCost


@dataclass(frozen=True)
class MemberComparison:
    """An ensemble and its members on the same images.

    Attributes
    ----------
    part : str
        ``test``, or ``val`` if there is no test set; empty if there is neither.
    images : int
    accuracy : MetricValue
        Accuracy of the ensemble.
    rows : tuple of MemberRow
    disagreement : tuple of tuple of float
        Per pair of members, the share of the images with different predictions.
    any_correct : float
        Share of the images that at least one member classifies correctly: about the most that an ensemble can reach.
    all_correct : float
        Share of the images that all members classify correctly.
    cost : InferenceCost
        Cost of the ensemble.
    """

    part: str
    images: int
    accuracy: MetricValue
    rows: tuple[MemberRow, ...]
    disagreement: tuple[tuple[float, ...], ...]
    any_correct: float
    all_correct: float
    cost: InferenceCost

    @classmethod
    def of(
        cls,
        members: Members,
        weights: Sequence[float],
        costs: MemberCosts,
        run: RunDirectory,
        cost: InferenceCost,
        thresholds: NDArray[np.float64] | None,
    ) -> MemberComparison:
        """Compare an ensemble with its members on test, or on val if there is no test set.

        Parameters
        ----------
        members : Members
        weights : sequence of float
            Weight of each member in the ensemble.
        costs : MemberCosts
        run : RunDirectory
            Has the predictions of the ensemble.
        cost : InferenceCost
            Of the ensemble.
        thresholds : ndarray of shape (k,) or None
            Thresholds of the ensemble (multi-label).
        """

        def row(number: int, accuracy: MetricValue, gain: MetricValue, p: float) -> MemberRow:
            path = str(members.runs[number].directory.path)
            return MemberRow(members.names[number], path, weights[number], accuracy, gain, p, costs.alone(number))

        part, joint, probabilities = _predictions(members, run)
        if joint is None:
            unknown = tuple(row(number, _UNKNOWN, _UNKNOWN, 1.0) for number in range(len(members.runs)))
            return cls("", 0, _UNKNOWN, unknown, (), 0.0, 0.0, cost)
        names, truth = members.split.class_names, joint.truth
        each = []
        for number, opened in enumerate(members.bundles):
            own = None if opened.bundle.thresholds is None else np.array(opened.bundle.thresholds)
            each.append(ModelPredictions.of_rows(f"{number}", part, names, truth, joint.probabilities[number], own))
        ensemble = ModelPredictions.of_rows(_ENSEMBLE, part, names, truth, probabilities, thresholds)
        comparison = compare([ensemble, *each])
        rows = []
        for number, one in enumerate(each):
            pair = comparison.pair(_ENSEMBLE, one.name)
            gain = pair.difference("accuracy", _ENSEMBLE)
            rows.append(row(number, comparison.metrics[one.name]["accuracy"], gain, pair.p_adjusted))
        correct = np.stack([one.correct for one in each])
        return cls(
            part,
            comparison.images,
            comparison.metrics[_ENSEMBLE]["accuracy"],
            tuple(rows),
            disagreement([one.predicted for one in each]),
            float(correct.any(axis=0).mean()),
            float(correct.all(axis=0).mean()),
            cost,
        )

    def write(self, path: Path) -> None:
        """Write all fields as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> MemberComparison:
        """Return the comparison that was written to `path`; raise RunError if the file holds something else."""
        try:
            data = read_json(path)
            rows = tuple(MemberRow(**{**row, "cost": InferenceCost(**row["cost"])}) for row in data["rows"])
            pairs = tuple(tuple(row) for row in data["disagreement"])
            return cls(**{**data, "rows": rows, "disagreement": pairs, "cost": InferenceCost(**data["cost"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from None

    def summary_short(self) -> list[str]:
        """Return a summary without the single members, for members that are statistically equal, such as bags."""
        alone = [row.accuracy["value"] for row in self.rows]
        if not self.part:
            return [self._cost_line()]
        spread = f"{np.mean(alone):.3f} each ({min(alone):.3f} to {max(alone):.3f})"
        joint = f"accuracy of {len(alone)} members on {self.part}: {spread}, {self.accuracy['value']:.3f} together"
        return [joint, *self._agreement(), self._cost_line()]

    def summary(self) -> list[str]:
        """Return a summary: one line per member, the total cost, and how often the members agree."""
        lines = []
        for row in self.rows:
            cost = f"{row.cost.milliseconds:.1f} ms/image, {row.cost.megabytes:.1f} MB"
            gain = f", gain of the ensemble {points_summary(row.gain)}" if self.part else ""
            accuracy = f"accuracy {row.accuracy['value']:.3f}{gain}; " if self.part else ""
            lines.append(f"{row.name}: {accuracy}weight {row.weight:.2f}; {cost}")
        return [*lines, self._cost_line(), *self._agreement()]

    def _cost_line(self) -> str:
        return f"ensemble: {self.cost.milliseconds:.1f} ms/image, {self.cost.megabytes:.1f} MB"

    def _agreement(self) -> list[str]:
        if not self.part:
            return []
        pairs = [share for number, row in enumerate(self.disagreement) for share in row[:number]]
        return [
            f"members disagree on {100 * float(np.mean(pairs)):.0f} % of {self.part}; at least one is right on "
            f"{100 * self.any_correct:.0f} %, all are right on {100 * self.all_correct:.0f} %"
        ]


def disagreement(predicted: Sequence[NDArray[np.int64]]) -> tuple[tuple[float, ...], ...]:
    """Return, per pair of models, the share of the images with different predictions.

    Examples
    --------
    >>> disagreement([np.array([0, 1]), np.array([0, 0])])
    ((0.0, 0.5), (0.5, 0.0))
    """
    return tuple(
        tuple(float((one != other).reshape(len(one), -1).any(axis=1).mean()) for other in predicted)
        for one in predicted
    )


def _predictions(members: Members, run: RunDirectory) -> tuple[str, MemberPredictions | None, NDArray[np.float32]]:
    """Return the predictions of the members and of the ensemble on test, or on val if there is no test set."""
    ensemble = FinishedRun(run, members.split, {}, {})
    for part in reversed(ensemble.parts):
        if joint := members.predictions(part):
            predicted = ensemble.predictions_of(part)
            return part, joint, predicted.predictions.probabilities[np.searchsorted(predicted.rows, joint.rows)]
    return "", None, np.empty(0, np.float32)
