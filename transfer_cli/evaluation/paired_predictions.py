"""The predictions of a run or an evaluation, image by image, beside the true labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.features_only import features_only_hint, is_features_only
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL, Task
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.predictions import TRUE_LABEL
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import EvaluationDirectory
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.run_of_model import run_of_model, training_digests
from transfer_cli.runs.scoring import truth_of
from transfer_cli.text import counted, listed, shell_command

_PROBABILITY = "p_"
ROLE_COLUMN = "training_role"
"""Column of images.csv of an evaluation: how the model used the image (train, val or unseen)."""


@dataclass(frozen=True)
class ModelPredictions:
    """The predictions of one model.

    Attributes
    ----------
    name : str
        Path of the run or the evaluation, as it was typed.
    part : str
    class_names : tuple of str
    task : str
    images : tuple of (str, str)
        Path and SHA-256 digest of each image, sorted.
    truth, predicted : ndarray of shape (n,) or (n, k), int
        Columns of the classes, or indicator matrices of the labels.
    probabilities : ndarray of shape (n, k), float
    used : frozenset of str
        Digests of all images that the model was trained on or selected by; they cannot be used to judge it.
    model : str
        Path of the run or bundle that predicted; empty where it is `name`.
    folder : str
        Folder of the images; empty where it is unknown.
    tta : str
        Test-time augmentation; empty if there was none.
    """

    name: str
    part: str
    class_names: tuple[str, ...]
    task: Task
    images: tuple[tuple[str, str], ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    used: frozenset[str]
    model: str = ""
    folder: str = ""
    tta: str = ""

    @classmethod
    def read(cls, path: Path) -> ModelPredictions:
        """Return the predictions of a run on its test set (validation set if there is no test), or of an evaluation.

        Raises
        ------
        InputError
            When `path` is neither, or its tables cannot be read.
        """
        evaluation = EvaluationDirectory(path)
        if evaluation.exists():
            rows = read_table(evaluation.images, ("path", "sha256", ROLE_COLUMN))
            used = frozenset(row["sha256"] for row in rows if row[ROLE_COLUMN] != "unseen")
            about = evaluation.read_about()
            part = str(about.get("part") or "all")
            digest_of = {row["path"]: row["sha256"] for row in rows}
            predictions = cls._of_table(path, part, evaluation.predictions, digest_of, used)
            model, folder, tta = (str(about.get(key) or "") for key in ("model", "folder", "tta"))
            return replace(predictions, model=model, folder=folder, tta=tta)
        run = FinishedRun.read(path)
        return cls.of_run(run.directory, run.split)

    @classmethod
    def of_run(cls, run: RunDirectory, split: Split) -> ModelPredictions:
        """Return the predictions of a run, which may be unfinished, on test, or on val if there is no test.

        Raises
        ------
        InputError
            When there are predictions of neither, or a table cannot be read.
        """
        part = next((part for part in ("test", "val") if run.predictions(part).is_file()), None)
        if part is None:
            hint = features_only_hint(run.path) if is_features_only(run.path) else None
            raise InputError(f"{run.path} has no predictions for a test or validation set to compare.", hint=hint)
        digest_of = {row.path: row.sha256 for row in split.rows}
        # The best epoch or the regularisation was chosen on val. All runs do that, so val is not left out.
        used = training_digests(run) if part == "test" else frozenset()
        predictions = cls._of_table(run.path, part, run.predictions(part), digest_of, used)
        return replace(predictions, folder=read_regular_text(run.folder).strip())

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
        """Return predictions for images without paths, none of which was used for training.

        Parameters
        ----------
        name, part : str
        class_names : sequence of str
        truth : ndarray of shape (n,) or (n, k), int
        probabilities : ndarray of shape (n, k), float32
            The images are in the same order for all models that are to be compared.
        thresholds : ndarray of shape (k,), optional
            Probability from which a label is assigned (multi-label).
        """
        task: Task = SINGLE_LABEL if truth.ndim == 1 else MULTI_LABEL
        predicted = probabilities.argmax(axis=1) if thresholds is None else probabilities >= thresholds
        images = tuple((f"{row:09}", f"{row:09}") for row in range(len(truth)))
        columns = np.asarray(predicted, np.int64)
        return cls(name, part, tuple(class_names), task, images, truth, columns, probabilities, frozenset())

    @classmethod
    def _of_table(
        cls, path: Path, part: str, table: Path, digest_of: dict[str, str], used: frozenset[str]
    ) -> ModelPredictions:
        rows = sorted(read_table(table, ("path", TRUE_LABEL)), key=lambda row: row["path"])
        if not rows:
            raise InputError(f"{table} is empty. Expected one row per image.")
        names = tuple(column.removeprefix(_PROBABILITY) for column in rows[0] if column.startswith(_PROBABILITY))
        task = MULTI_LABEL if "labels" in rows[0] else SINGLE_LABEL

        def columns(name: str) -> NDArray[np.int64]:
            cells = ([row[name]] if task == SINGLE_LABEL else filter(None, row[name].split(SEPARATOR)) for row in rows)
            return truth_of(cells, names, task)

        try:
            images = tuple((row["path"], digest_of[row["path"]]) for row in rows)
            numbers = [[float(row[f"{_PROBABILITY}{name}"]) for name in names] for row in rows]
            truth, predicted = columns(TRUE_LABEL), columns("label" if task == SINGLE_LABEL else "labels")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{table} cannot be read: unexpected value {error}.") from None
        return cls(str(path), part, names, task, images, truth, predicted, np.array(numbers, np.float32), used)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly; for multi-label, all labels must be correct."""
        correct: NDArray[np.bool_] = (self.predicted == self.truth).reshape(len(self.truth), -1).all(axis=1)
        return correct

    def _content_order(self) -> NDArray[np.int64]:
        """Return the rows sorted by digest, equal ones by true label, then by path."""
        truth = [tuple(row) for row in self.truth.reshape(len(self.truth), -1).tolist()]
        keys = [(digest, of, path) for (path, digest), of in zip(self.images, truth, strict=True)]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> ModelPredictions:
        """Return the predictions for some images: a mask, or row numbers in the wanted order."""
        return replace(
            self,
            images=tuple(self.images[row] for row in np.arange(len(self.images))[rows]),
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            probabilities=self.probabilities[rows],
        )


def aligned(models: Sequence[ModelPredictions]) -> tuple[list[ModelPredictions], int]:
    """Return the predictions in the image order of the first model, and the number of images with differing paths.

    Images are matched by content, so that files may have been moved, for instance by `data split`. Identical files with
    the same label are matched in the order of their paths.

    Raises
    ------
    InputError
        When the images or their true labels differ between the models.
    """
    first = models[0]
    order = first._content_order()
    back = np.argsort(order)
    result, moved = [first], np.zeros(len(first.images), bool)
    for other in models[1:]:
        both = f"{first.name} ({first.part}) and {other.name} ({other.part})"
        if set(first.class_names) != set(other.class_names) or first.task != other.task:
            raise InputError(
                f"{both} have different classes.\n{first.name}: {listed(first.class_names, 40)}\n"
                f"{other.name}: {listed(other.class_names, 40)}"
            )
        if sorted(digest for _, digest in first.images) != sorted(digest for _, digest in other.images):
            raise _different_images(first, other, both)
        other = other.select(other._content_order()[back])
        if first.class_names != other.class_names or (first.truth != other.truth).any():
            raise InputError(f"{both} have different true labels for the same images. Expected the same labels.")
        result.append(other)
        pairs = zip(first.images, other.images, strict=True)
        moved |= np.array([one[0] != two[0] for one, two in pairs], bool)
    return result, int(moved.sum())


def _different_images(first: ModelPredictions, other: ModelPredictions, both: str) -> InputError:
    counts, others = (Counter(digest for _, digest in each.images) for each in (first, other))
    common = (counts & others).total()
    digests, other_digests = dict(first.images), dict(other.images)
    changed = sorted(path for path in digests.keys() & other_digests.keys() if digests[path] != other_digests[path])
    note = f" {len(changed)} have the same path but different content: {', '.join(changed[:3])}." if changed else ""
    return InputError(
        f"{both} predicted different images: {len(first.images)} and "
        f"{counted(len(other.images), 'image')}, of which {common} "
        f"have the same content.{note}",
        hint="Evaluate both models on the same images, and compare the evaluations:\n"
        + "\n".join(_evaluate_command(each, first, other) for each in (first, other)),
    )


def _evaluate_command(predictions: ModelPredictions, first: ModelPredictions, other: ModelPredictions) -> str:
    """Return the command that evaluates a model on the images of one of the two."""
    # The images of an evaluation were chosen for that purpose, so they come before those of a run.
    target = next((each for each in (first, other) if each.model), first)
    model = Path(predictions.model or predictions.name)
    run = run_of_model(str(model))
    command = ["transfer-cli", "evaluate", str(run.path if run else model), target.folder or "FOLDER"]
    if target.model and target.part != "all":
        command += ["--part", target.part]
    if predictions.tta:
        command += ["--tta", predictions.tta]
    if run is None and predictions.model:
        command += ["-o", f"{model.name}-{Path(target.folder).stem}"]
    return shell_command(*command)
