"""What a run or an evaluation said of each picture of a part, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.errors import InputError
from transfer_cli.evaluation import EvaluationDirectory, learnt_by
from transfer_cli.finished import FinishedRun
from transfer_cli.manifest import SEPARATOR
from transfer_cli.tables import read_table

_PROBABILITY = "p_"


@dataclass(frozen=True)
class Answers:
    """The answers of one model.

    Attributes
    ----------
    name : str
        The run or the evaluation, as it was typed.
    part : str
    class_names : tuple of str
    task : str
    pictures : tuple of (str, str)
        Path and digest of each picture, sorted.
    truth : ndarray of shape (n,) or (n, k), int
    predicted : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (n, k), float
    learnt : frozenset of str
        The digests of all pictures that had a say in the model.
    """

    name: str
    part: str
    class_names: tuple[str, ...]
    task: Task
    pictures: tuple[tuple[str, str], ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    learnt: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Answers:
        """Return what the run at `path` said of its test part (of val where there is no test), or an evaluation of all.

        Raises
        ------
        InputError
            When it is neither, or its tables cannot be read.
        """
        evaluation = EvaluationDirectory(path)
        if evaluation.is_one():
            rows = read_table(evaluation.pictures, ("path", "sha256", "learnt"))
            # What was chosen by a picture suits it, too.
            learnt = frozenset(row["sha256"] for row in rows if row["learnt"] != "no")
            part = str(evaluation.read_about().get("part") or "all")
            digest_of = {row["path"]: row["sha256"] for row in rows}
            return cls._of_table(path, part, evaluation.predictions, digest_of, learnt)
        run = FinishedRun.read(path)
        if not run.parts:
            raise InputError(f"{path} has no predictions of a test or a val part to compare.")
        part = run.parts[-1]
        digest_of = {row.path: row.sha256 for row in run.split.rows}
        # Of val the best epoch or the regularisation was chosen; that is no reason to leave its pictures out.
        learnt = learnt_by(run.directory) if part == "test" else frozenset()
        return cls._of_table(path, part, run.directory.predictions(part), digest_of, learnt)

    @classmethod
    def _of_table(
        cls, path: Path, part: str, table: Path, digest_of: dict[str, str], learnt: frozenset[str]
    ) -> Answers:
        rows = sorted(read_table(table, ("path", "class")), key=lambda row: row["path"])
        if not rows:
            raise InputError(f"{table} has no picture.")
        names = tuple(column.removeprefix(_PROBABILITY) for column in rows[0] if column.startswith(_PROBABILITY))
        task = MULTI_LABEL if "labels" in rows[0] else SINGLE_LABEL
        column_of = {name: column for column, name in enumerate(names)}
        try:
            pictures = tuple((row["path"], digest_of[row["path"]]) for row in rows)
            numbers = [[float(row[f"{_PROBABILITY}{name}"]) for name in names] for row in rows]
            if task == SINGLE_LABEL:
                truth = np.array([column_of[row["class"]] for row in rows], np.int64)
                predicted = np.array([column_of[row["label"]] for row in rows], np.int64)
            else:
                truth, predicted = (_indicators([row[word] for row in rows], column_of) for word in ("class", "labels"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{table} cannot be read: {error} is not what was expected there.") from None
        return cls(str(path), part, names, task, pictures, truth, predicted, np.array(numbers, np.float32), learnt)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which pictures were classified rightly; of several labels, all of them."""
        right: NDArray[np.bool_] = (self.predicted == self.truth).reshape(len(self.truth), -1).all(axis=1)
        return right

    def only(self, kept: NDArray[np.bool_]) -> Answers:
        """Return the answers to some of the pictures."""
        pictures = tuple(picture for picture, there in zip(self.pictures, kept, strict=True) if there)
        return replace(
            self,
            pictures=pictures,
            truth=self.truth[kept],
            predicted=self.predicted[kept],
            probabilities=self.probabilities[kept],
        )


def must_be_comparable(all_answers: Sequence[Answers]) -> None:
    """Raise InputError, saying what differs, unless all are about the same pictures with the same truth."""
    first = all_answers[0]
    for other in all_answers[1:]:
        both = f"{first.name} ({first.part}) and {other.name} ({other.part})"
        if set(first.class_names) != set(other.class_names) or first.task != other.task:
            raise InputError(
                f"{both} have other classes.\n{first.name}: {', '.join(first.class_names)}\n"
                f"{other.name}: {', '.join(other.class_names)}"
            )
        if first.pictures != other.pictures:
            raise _other_pictures(first, other, both)
        if first.class_names != other.class_names or (first.truth != other.truth).any():
            raise InputError(f"{both} have the same pictures under other classes. Expected the same truth.")


def _other_pictures(first: Answers, other: Answers, both: str) -> InputError:
    common = set(first.pictures) & set(other.pictures)
    digests, was = dict(first.pictures), dict(other.pictures)
    changed = sorted(path for path in digests.keys() & was.keys() if digests[path] != was[path])
    said = f" {len(changed)} have the same path and other bytes: {', '.join(changed[:3])}." if changed else ""
    return InputError(
        f"{both} were not asked about the same pictures: {len(first.pictures)} and {len(other.pictures)}, of which "
        f"{len(common)} are the same by path and content.{said}",
        hint="Ask them about the same, and compare the evaluations:\n"
        + "\n".join(f"transfer-cli evaluate {each.name} FOLDER" for each in (first, other)),
    )


def _indicators(cells: Sequence[str], column_of: dict[str, int]) -> NDArray[np.int64]:
    table = np.zeros((len(cells), len(column_of)), np.int64)
    for row, cell in enumerate(cells):
        table[row, [column_of[label] for label in cell.split(SEPARATOR) if label]] = 1
    return table
