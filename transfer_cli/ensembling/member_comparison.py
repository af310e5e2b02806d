"""Members and their ensemble side by side: how good, how different, how dear."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.ensembling.fit_combination import FittedCombination
from transfer_cli.ensembling.members import Members, Part
from transfer_cli.errors import RunError
from transfer_cli.evaluation.comparison import Comparison, Pair, compare
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.inference.latency import Cost, Costs
from transfer_cli.metrics.intervals import Figure, points

_JOINT = "the ensemble"
_NONE: Figure = {"value": None, "low": None, "high": None}  # type: ignore[typeddict-item]


@dataclass(frozen=True)
class MemberRow:
    """A member beside the ensemble.

    Attributes
    ----------
    name : str
    run : str
        Its path.
    weight : float
        What its probabilities count.
    accuracy : Figure
    gain : Figure
        The accuracy of the ensemble less that of the member, with a paired bootstrap interval.
    p : float
        Of McNemar's exact test between both, after Holm.
    cost : Cost
    """

    name: str
    run: str
    weight: float
    accuracy: Figure
    gain: Figure
    p: float
    cost: Cost


@dataclass(frozen=True)
class Joint:
    """What an ensemble said of pictures that each of its members was asked about.

    Attributes
    ----------
    part : str
    about : Part
    answers : ndarray of shape (n, k), float32
        Calibrated.
    """

    part: str
    about: Part
    answers: NDArray[np.float32]


@dataclass(frozen=True)
class MemberComparison:
    """An ensemble and its members on the same pictures.

    Attributes
    ----------
    part : str
        ``test``, or ``val`` where there is no test; empty where there is neither.
    images : int
    accuracy : Figure
        Of the ensemble.
    rows : tuple of MemberRow
    disagreement : list of list of float
        Of every two members, the share of the pictures of which they say something else.
    any_right : float
        The share of the pictures that one member at least has right: what no way of joining them can exceed by much.
    all_right : float
    cost : Cost
        Of the ensemble.
    """

    part: str
    images: int
    accuracy: Figure
    rows: tuple[MemberRow, ...]
    disagreement: tuple[tuple[float, ...], ...]
    any_right: float
    all_right: float
    cost: Cost

    @classmethod
    def of(
        cls,
        members: Members,
        joined: FittedCombination,
        costs: Costs,
        said: Joint | None,
        *,
        thresholds: NDArray[np.float64] | None = None,
        own: Cost | None = None,
    ) -> MemberComparison:
        """Return what they come to on the same pictures.

        Parameters
        ----------
        members : Members
        joined : Joined
        costs : Costs
        said : Joint or None
            What the ensemble said of pictures that all members were asked about; None where there are none.
        thresholds : ndarray of shape (k,), optional
            Of the ensemble, of a multi-label task.
        own : Cost, optional
            Of the ensemble, where it is another than that of the members it has.
        """
        used = [number for number, weight in enumerate(joined.weights) if weight > 0]
        cost = own or costs.together(used)
        if said is None:
            rows = [
                MemberRow(name, str(each.directory.path), weight, _NONE, _NONE, 1.0, costs.alone(number))
                for number, (name, each, weight) in enumerate(
                    zip(members.names, members.runs, joined.weights, strict=True)
                )
            ]
            return cls("", 0, _NONE, tuple(rows), (), 0.0, 0.0, cost)
        names, truth = members.split.class_names, said.about.truth
        joint = ModelPredictions.of_rows(_JOINT, said.part, names, truth, said.answers, thresholds)
        answers = [
            ModelPredictions.of_rows(f"{number}", said.part, names, truth, given, _thresholds(opened.bundle))
            for number, (given, opened) in enumerate(zip(said.about.given, members.bundles, strict=True))
        ]
        found = compare([joint, *answers])
        right = np.stack([each.right for each in answers])
        return cls(
            said.part,
            found.images,
            found.figures[_JOINT]["accuracy"],
            tuple(
                MemberRow(
                    members.names[number],
                    str(members.runs[number].directory.path),
                    joined.weights[number],
                    found.figures[each.name]["accuracy"],
                    (pair := _pair(found, each.name)).difference("accuracy", _JOINT),
                    pair.p_adjusted,
                    costs.alone(number),
                )
                for number, each in enumerate(answers)
            ),
            disagreement([each.predicted for each in answers]),
            float(right.any(axis=0).mean()),
            float(right.all(axis=0).mean()),
            cost,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> MemberComparison:
        """Return what `facts` was written to `path`; raise RunError where it holds something else."""
        try:
            data = json.loads(path.read_text("utf-8"))
            rows = tuple(MemberRow(**{**row, "cost": Cost(**row["cost"])}) for row in data["rows"])
            pairs = tuple(tuple(row) for row in data["disagreement"])
            return cls(**{**data, "rows": rows, "disagreement": pairs, "cost": Cost(**data["cost"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from None

    def summary_short(self) -> list[str]:
        """Return what a person is told of many members that differ in nothing but chance."""
        alone = [row.accuracy["value"] for row in self.rows]
        if not self.part:
            return [self._cost_line()]
        spread = f"{np.mean(alone):.3f} each ({min(alone):.3f} to {max(alone):.3f})"
        joint = f"{len(alone)} members on {self.part}: {spread}, {self.accuracy['value']:.3f} together"
        return [joint, *self._why(), self._cost_line()]

    def summary(self) -> list[str]:
        """Return what a person is told: a line each member, and why it helps or does not."""
        said = []
        for row in self.rows:
            cost = f"{row.cost.milliseconds:.1f} ms a picture, {row.cost.megabytes:.1f} MB"
            gain = f", the ensemble {points(row.gain)}" if self.part else ""
            accuracy = f"{row.accuracy['value']:.3f}{gain}; " if self.part else ""
            said.append(f"{row.name}: {accuracy}weight {row.weight:.2f}; {cost}")
        return [*said, self._cost_line(), *self._why()]

    def _cost_line(self) -> str:
        return f"together: {self.cost.milliseconds:.1f} ms a picture, {self.cost.megabytes:.1f} MB"

    def _why(self) -> list[str]:
        if not self.part:
            return []
        pairs = [share for number, row in enumerate(self.disagreement) for share in row[:number]]
        return [
            f"two members differ on {100 * float(np.mean(pairs)):.0f} % of the pictures of {self.part}; on "
            f"{100 * self.any_right:.0f} % one of them is right, on {100 * self.all_right:.0f} % all"
        ]


def disagreement(predicted: Sequence[NDArray[np.int64]]) -> tuple[tuple[float, ...], ...]:
    """Return of every two models the share of the pictures of which they say something else.

    Examples
    --------
    >>> disagreement([np.array([0, 1]), np.array([0, 0])])
    ((0.0, 0.5), (0.5, 0.0))
    """
    return tuple(
        tuple(float((one != other).reshape(len(one), -1).any(axis=1).mean()) for other in predicted)
        for one in predicted
    )


def _pair(found: Comparison, name: str) -> Pair:
    return next(pair for pair in found.pairs if {pair.better, pair.other} == {_JOINT, name})


def _thresholds(bundle: ModelBundle) -> NDArray[np.float64] | None:
    return None if bundle.thresholds is None else np.array(bundle.thresholds)
