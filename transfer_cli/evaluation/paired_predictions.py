"""What a run or an evaluation said of each picture of a part, beside the truth."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import EvaluationDirectory, learnt_by, run_with
from transfer_cli.runs.run_directory import RunDirectory

_PROBABILITY = "p_"


@dataclass(frozen=True)
class ModelPredictions:
    """The answers of one model.

    Attributes
    ----------
    name : str
        The run or the evaluation, as it was typed.
    part : str
    class_names : tuple of str
    task : str
    images : tuple of (str, str)
        Path and digest of each picture, sorted.
    truth : ndarray of shape (n,) or (n, k), int
    predicted : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (n, k), float
    learnt : frozenset of str
        The digests of all pictures that had a say in the model.
    model : str
        The run or the bundle that answered; empty where it is `name`.
    folder : str
        Where the pictures are; empty where that is not known.
    tta : str
        The test-time augmentation it was asked with; empty where there was none.
    """

    name: str
    part: str
    class_names: tuple[str, ...]
    task: Task
    images: tuple[tuple[str, str], ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    learnt: frozenset[str]
    model: str = ""
    folder: str = ""
    tta: str = ""

    @classmethod
    def read(cls, path: Path) -> ModelPredictions:
        """Return what the run at `path` said of its test part (of val where there is no test), or an evaluation of all.

        Raises
        ------
        InputError
            When it is neither, or its tables cannot be read.
        """
        evaluation = EvaluationDirectory(path)
        if evaluation.is_one():
            rows = read_table(evaluation.images, ("path", "sha256", "learnt"))
            # What was chosen by a picture suits it, too.
            learnt = frozenset(row["sha256"] for row in rows if row["learnt"] != "no")
            about = evaluation.read_about()
            part = str(about.get("part") or "all")
            digest_of = {row["path"]: row["sha256"] for row in rows}
            answers = cls._of_table(path, part, evaluation.predictions, digest_of, learnt)
            model, folder, tta = (str(about.get(word) or "") for word in ("model", "folder", "tta"))
            return replace(answers, model=model, folder=folder, tta=tta)
        run = FinishedRun.read(path)
        return cls.of_run(run.directory, run.split)

    @classmethod
    def of_run(cls, run: RunDirectory, split: Split) -> ModelPredictions:
        """Return what a run said of its test part, of val where there is no test; it may still be on its way.

        Raises
        ------
        InputError
            When it was scored on neither, or a table cannot be read.
        """
        part = next((part for part in ("test", "val") if run.predictions(part).is_file()), None)
        if part is None:
            raise InputError(f"{run.path} has no predictions of a test or a val part to compare.")
        digest_of = {row.path: row.sha256 for row in split.rows}
        # Of val the best epoch or the regularisation was chosen; that is no reason to leave its pictures out.
        learnt = learnt_by(run) if part == "test" else frozenset()
        answers = cls._of_table(run.path, part, run.predictions(part), digest_of, learnt)
        return replace(answers, folder=run.folder.read_text("utf-8", "surrogateescape").strip())

    @classmethod
    def of_rows(
        cls,
        name: str,
        part: str,
        class_names: Sequence[str],
        truth: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        thresholds: NDArray[np.float64] | None = None,
    ) -> ModelPredictions:
        """Return answers about pictures that none has learnt from; which files they are does not matter.

        Parameters
        ----------
        name, part : str
        class_names : sequence of str
        truth : ndarray of shape (n,) or (n, k), int
        probabilities : ndarray of shape (n, k), float32
            In the same order for all that are to be compared.
        thresholds : ndarray of shape (k,), optional
            From which probability on a picture has a label, of a multi-label task.
        """
        task: Task = SINGLE_LABEL if truth.ndim == 1 else MULTI_LABEL
        said = probabilities.argmax(axis=1) if thresholds is None else probabilities >= thresholds
        images = tuple((f"{row:09}", f"{row:09}") for row in range(len(truth)))
        predicted = np.asarray(said, np.int64)
        return cls(name, part, tuple(class_names), task, images, truth, predicted, probabilities, frozenset())

    @classmethod
    def _of_table(
        cls, path: Path, part: str, table: Path, digest_of: dict[str, str], learnt: frozenset[str]
    ) -> ModelPredictions:
        rows = sorted(read_table(table, ("path", "class")), key=lambda row: row["path"])
        if not rows:
            raise InputError(f"{table} has no picture.")
        names = tuple(column.removeprefix(_PROBABILITY) for column in rows[0] if column.startswith(_PROBABILITY))
        task = MULTI_LABEL if "labels" in rows[0] else SINGLE_LABEL
        column_of = {name: column for column, name in enumerate(names)}
        try:
            images = tuple((row["path"], digest_of[row["path"]]) for row in rows)
            numbers = [[float(row[f"{_PROBABILITY}{name}"]) for name in names] for row in rows]
            if task == SINGLE_LABEL:
                truth = np.array([column_of[row["class"]] for row in rows], np.int64)
                predicted = np.array([column_of[row["label"]] for row in rows], np.int64)
            else:
                truth, predicted = (_indicators([row[word] for row in rows], column_of) for word in ("class", "labels"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{table} cannot be read: {error} is not what was expected there.") from None
        return cls(str(path), part, names, task, images, truth, predicted, np.array(numbers, np.float32), learnt)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which pictures were classified rightly; of several labels, all of them."""
        right: NDArray[np.bool_] = (self.predicted == self.truth).reshape(len(self.truth), -1).all(axis=1)
        return right

    def _by_content(self) -> NDArray[np.int64]:
        """Return the rows sorted by digest, equal ones by truth, then by path."""
        truth = [tuple(row) for row in self.truth.reshape(len(self.truth), -1).tolist()]
        keys = [(digest, of, path) for (path, digest), of in zip(self.images, truth, strict=True)]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

    def only(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> ModelPredictions:
        """Return the answers to some of the pictures, by a mask, or in the order of some rows."""
        return replace(
            self,
            images=tuple(self.images[row] for row in np.arange(len(self.images))[kept]),
            truth=self.truth[kept],
            predicted=self.predicted[kept],
            probabilities=self.probabilities[kept],
        )


def aligned(all_answers: Sequence[ModelPredictions]) -> tuple[list[ModelPredictions], int]:
    """Return the answers in the order of the first, and how many pictures have another path in one of them.

    A picture is what its bytes are, wherever it lies: `data split` gives it another path. Of equal files those with the
    same truth are told apart by the order of their paths.

    Raises
    ------
    InputError
        Unless all are about the same pictures with the same truth; what differs is said.
    """
    first = all_answers[0]
    order = first._by_content()
    back = np.argsort(order)
    found, elsewhere = [first], np.zeros(len(first.images), bool)
    for other in all_answers[1:]:
        both = f"{first.name} ({first.part}) and {other.name} ({other.part})"
        if set(first.class_names) != set(other.class_names) or first.task != other.task:
            raise InputError(
                f"{both} have other classes.\n{first.name}: {', '.join(first.class_names)}\n"
                f"{other.name}: {', '.join(other.class_names)}"
            )
        if sorted(digest for _, digest in first.images) != sorted(digest for _, digest in other.images):
            raise _other_pictures(first, other, both)
        other = other.only(other._by_content()[back])
        if first.class_names != other.class_names or (first.truth != other.truth).any():
            raise InputError(f"{both} have the same pictures under other classes. Expected the same truth.")
        found.append(other)
        pairs = zip(first.images, other.images, strict=True)
        elsewhere |= np.array([one[0] != two[0] for one, two in pairs], bool)
    return found, int(elsewhere.sum())


def _other_pictures(first: ModelPredictions, other: ModelPredictions, both: str) -> InputError:
    counts, others = (Counter(digest for _, digest in each.images) for each in (first, other))
    common = (counts & others).total()
    digests, was = dict(first.images), dict(other.images)
    changed = sorted(path for path in digests.keys() & was.keys() if digests[path] != was[path])
    said = f" {len(changed)} have the same path and other bytes: {', '.join(changed[:3])}." if changed else ""
    return InputError(
        f"{both} were not asked about the same pictures: {len(first.images)} and {len(other.images)}, of which "
        f"{common} are the same by content.{said}",
        hint="Ask them about the same, and compare the evaluations:\n"
        + "\n".join(_to_evaluate(each, first, other) for each in (first, other)),
    )


def _to_evaluate(answers: ModelPredictions, first: ModelPredictions, other: ModelPredictions) -> str:
    """Return what to type to ask a model about what one of two was asked about."""
    # An evaluation's pictures were chosen to be asked about; a run's are those it was made from.
    request = next((each for each in (first, other) if each.model), first)
    model = Path(answers.model or answers.name)
    run = run_with(str(model))
    words = ["transfer-cli", "evaluate", str(run.path if run else model), request.folder or "FOLDER"]
    if request.model and request.part != "all":
        words += ["--part", request.part]
    if answers.tta:
        words += ["--tta", answers.tta]
    if run is None and answers.model:
        words += ["-o", f"{model.name}-{Path(request.folder).stem}"]
    return shlex.join(words)


def _indicators(cells: Sequence[str], column_of: dict[str, int]) -> NDArray[np.int64]:
    table = np.zeros((len(cells), len(column_of)), np.int64)
    for row, cell in enumerate(cells):
        table[row, [column_of[label] for label in cell.split(SEPARATOR) if label]] = 1
    return table
