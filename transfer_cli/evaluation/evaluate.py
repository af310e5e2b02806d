"""A finished model against a folder of pictures whose classes are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.training_images import Say, TrainingImages
from transfer_cli.catalog import tta as methods
from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.data.csv_manifest import SEPARATOR
from transfer_cli.data.image_folder import PARTS, ImageFile, ImageFolder, describe_left_out
from transfer_cli.data.predictions import Predictions, writer
from transfer_cli.data.skipped import Skipped, write_skipped
from transfer_cli.errors import InputError, nearest
from transfer_cli.evaluation.tta_gain import Gain
from transfer_cli.inference.load import load
from transfer_cli.inference.models import IMAGENET, AbstractModel
from transfer_cli.inference.predict import predict
from transfer_cli.inference.tta import Compared
from transfer_cli.io.atomic import write_json, written_whole
from transfer_cli.io.cache import Cache
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics import curves
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.intervals import Figure
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.scores import SUPPORT, Metrics
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.evaluation_directory import ALL, UNSEEN, EvaluationDirectory, training_images_of


@dataclass(frozen=True)
class Evaluation:
    """What a model came to on a folder.

    Attributes
    ----------
    directory : EvaluationDirectory
    metrics : mapping
        ``all`` pictures (or the part that was asked for); each part where the folder is laid out; and ``unseen``,
        those that had no say in the model, where some had.
    confusions : dict of str to Confusion
        Of the same; empty for several labels a picture.
    learnt : int
        How many pictures the model has learnt from.
    chosen : int
        How many others something was chosen by: the best epoch, the temperature, thresholds, what is rejected.
    is_known : bool
        Whether it is known what the model has learnt from; an older bundle without its run does not say.
    skipped : tuple of Skipped
    gain : Gain or None
        What test-time augmentation brought on `judged`, where it was asked for: `metrics` are those with it.
    """

    directory: EvaluationDirectory
    metrics: Metrics
    confusions: dict[str, Confusion]
    learnt: int
    chosen: int
    is_known: bool
    skipped: tuple[Skipped, ...]
    gain: Gain | None = None

    @property
    def judged(self) -> str:
        """The pictures that say how good the model is: those that had no say in it."""
        return UNSEEN if self.learnt or self.chosen else next(iter(self.metrics))

    def classes_without(self, part: str) -> tuple[str, ...]:
        """Return the classes of the model of which a part has no picture: its figures say nothing of them."""
        figures = self.metrics.get(part, {}).items()
        return tuple(
            name.removeprefix(SUPPORT) for name, figure in figures if name.startswith(SUPPORT) and not figure["value"]
        )


def evaluate(
    model: str,
    folder: ImageFolder,
    output: EvaluationDirectory,
    *,
    part: str | None = None,
    tta: str | None = None,
    runtime: str = AUTO,
    strict: bool = False,
    offline: bool = False,
    cache: Cache | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Predict the pictures of a folder with a finished model and score that.

    Parameters
    ----------
    model : str
        A run, or a bundle.
    folder : ImageFolder
        Some of the classes of the bundle, or all.
    output : EvaluationDirectory
        Written whole or not at all.
    part : str, optional
        Only the pictures of this part of a folder that is laid out in parts.
    tta : str, optional
        A test-time augmentation of the catalog, or a number of crops. The model is asked without it, too, about the
        same decoded pictures, so that its gain can be said.
    runtime, strict, offline, cache, progress
        As for loading a model and for predicting.

    Raises
    ------
    InputError
        When the classes of the folder are not the bundle's, or no picture could be read.
    RunError
        When something else is where the evaluation is to be written.
    ModelError
        When the bundle is missing or damaged.
    """
    if tta is not None:
        tta = methods.find(tta).name
    output.must_be_free(folder, part, tta)
    files = _chosen(folder, part)
    if left_out := describe_left_out(folder.left_out):
        progress.note(left_out)
    for line in folder.warnings():
        progress.warn(line)
    with progress.track("loading the model", None):
        loaded = load(model, runtime=runtime, images=len(files), offline=offline, cache=cache, progress=progress)
    _must_fit(loaded, folder, files)
    learnt = None if model.startswith(IMAGENET) else training_images_of(model)
    compared = None if tta is None else Compared(loaded, tta)
    found = _predicted(compared or loaded, folder, files, strict, progress)
    digests = found.predictions.digests
    scored = _Scored(loaded, found, (learnt or TrainingImages.of(())).say(digests))
    with progress.track("scoring", None):
        metrics, confusions = scored.of_all(part)
    counts = Counter(scored.say)
    evaluation = Evaluation(
        output,
        metrics,
        confusions,
        counts["yes"],
        counts["chosen"],
        learnt is not None,
        found.predictions.skipped,
    )
    if compared:
        with progress.track("comparing with one pass", None):
            evaluation = replace(evaluation, gain=scored.gain(compared, evaluation.judged, part))
    about: dict[str, Any] = {
        "model": str(Path(model).resolve()),
        "folder": str(folder.source.resolve()),
        "part": part,
        "learnt_is_known": evaluation.is_known,
    }
    if evaluation.gain:
        about |= {"tta": tta, "gain": evaluation.gain.to_dict()}
    with written_whole(output.path) as draft:
        draft.mkdir()
        _write(EvaluationDirectory(draft), evaluation, scored, about)
    return evaluation


@dataclass(frozen=True)
class _Found:
    """All predictions, and the file of each."""

    files: tuple[ImageFile, ...]
    predictions: Predictions


def _chosen(folder: ImageFolder, part: str | None) -> list[ImageFile]:
    if part is None:
        return list(folder.files)
    chosen = [file for file in folder.files if file.part == part]
    if not chosen:
        there = [name for name in PARTS if any(file.part == name for file in folder.files)]
        received = f"pictures of {', '.join(there)}" if there else "pictures that are in no part"
        raise InputError(
            f"{folder.source} has no part {part}. Received: {received}.",
            hint="Leave out --part to evaluate all pictures.",
        )
    return chosen


def _must_fit(model: AbstractModel, folder: ImageFolder, files: list[ImageFile]) -> None:
    task = SINGLE_LABEL if model.thresholds is None else MULTI_LABEL
    if task != folder.task:
        raise InputError(
            f"The model is {task}, and {folder.source} is {folder.task}. Expected "
            + ("one class a picture." if task == SINGLE_LABEL else "a CSV file with the columns path,labels.")
        )
    known = set(model.class_names)
    strange = [name for name in folder.class_names if name not in known]
    if strange:
        near = [f"{name} (did you mean {guess}?)" if (guess := nearest(name, known)) else name for name in strange]
        raise InputError(
            f"{folder.source} has classes that the model does not know: {', '.join(near)}.\n"
            f"Expected some of: {', '.join(model.class_names)}.\nReceived: {', '.join(folder.class_names)}.",
            hint="Rename the folders, or the labels, as the model has them.",
        )


def _predicted(
    model: AbstractModel, folder: ImageFolder, files: list[ImageFile], strict: bool, progress: Progress
) -> _Found:
    file_of = {str(folder.root / file.path): file for file in files}
    found: list[Predictions] = []
    with progress.track("predicting", len(files)) as advance:
        for batch in predict(model, file_of, strict=strict):
            found.append(batch)
            advance(len(batch.paths) + len(batch.skipped))
    skipped = tuple(Skipped(file_of[item.path].path, item.reason) for batch in found for item in batch.skipped)
    read = tuple(file_of[path] for batch in found for path in batch.paths)
    if not read:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        raise InputError(f"None of the {len(files)} pictures of {folder.source} could be read.{reasons}")
    probabilities = np.concatenate([batch.probabilities for batch in found])
    digests = tuple(digest for batch in found for digest in batch.digests)
    paths = tuple(file.path for file in read)
    return _Found(
        read, Predictions(paths, model.class_names, probabilities, skipped, model.thresholds, digests=digests)
    )


class _Scored:
    """Predictions beside the truth."""

    def __init__(self, model: AbstractModel, found: _Found, say: tuple[Say, ...]) -> None:
        self.found, self.say, self._names = found, say, model.class_names
        self._thresholds = None if model.thresholds is None else np.array(model.thresholds)
        column_of = {name: column for column, name in enumerate(model.class_names)}
        if self._thresholds is None:
            self.truth = np.array([column_of[file.labels[0]] for file in found.files], np.int64)
        else:
            self.truth = np.zeros((len(found.files), len(column_of)), np.int64)
            for row, file in enumerate(found.files):
                self.truth[row, [column_of[label] for label in file.labels]] = 1

    def of_all(self, part: str | None) -> tuple[Metrics, dict[str, Confusion]]:
        """Return the figures and the confusions of all pictures, of the parts there are, and of those without a say."""
        chosen = self._chosen(part)
        metrics = {name: self._figures(mask) for name, mask in chosen.items()}
        several = self._thresholds is not None
        return metrics, {} if several else {name: self._confusion(mask) for name, mask in chosen.items()}

    def gain(self, compared: Compared, judged: str, part: str | None) -> Gain:
        """Return what the augmentation brought on the pictures that are judged, or on all where none of these is."""
        chosen = self._chosen(part)
        name = judged if judged in chosen else next(iter(chosen))
        mask = chosen[name]
        both = self.found.predictions.probabilities[mask], compared.without[mask]
        method, truth = compared.spec.name, self.truth[mask]
        return Gain.of(method, name, self._names, truth, *both, compared.cost, self._thresholds)

    def _chosen(self, part: str | None) -> dict[str, NDArray[np.bool_]]:
        files = self.found.files
        chosen = {part or ALL: np.ones(len(files), bool)}
        of_part = {name: np.array([file.part == name for file in files], bool) for name in PARTS}
        if part is None and sum(mask.any() for mask in of_part.values()) > 1:
            chosen |= {name: mask for name, mask in of_part.items() if mask.any()}
        unseen = np.array([say == "no" for say in self.say], bool)
        if unseen.any() and not unseen.all():
            chosen[UNSEEN] = unseen
        return chosen

    def _figures(self, mask: NDArray[np.bool_]) -> dict[str, Figure]:
        probabilities = self.found.predictions.probabilities[mask]
        return score(self.truth[mask], probabilities, self._thresholds, self._names)

    def _confusion(self, mask: NDArray[np.bool_]) -> Confusion:
        predicted = self.found.predictions.probabilities[mask].argmax(axis=1)
        return Confusion.of(self.truth[mask], predicted, self._names)


def _write(target: EvaluationDirectory, evaluation: Evaluation, scored: _Scored, about: dict[str, Any]) -> None:
    files, predictions = scored.found.files, scored.found.predictions
    several = predictions.thresholds is not None
    truth = [SEPARATOR.join(file.labels) for file in files]
    with target.predictions.open("wb") as file:
        table = writer("csv", file, predictions.class_names, truth=True, several=several)
        table.append(predictions, truth)
        table.close()
    header = ("path", "sha256", "labels" if several else "class", "part", "learnt")
    parts = [file.part or "" for file in files]
    write_table(
        target.images, header, zip(predictions.paths, predictions.digests, truth, parts, scored.say, strict=True)
    )
    if evaluation.confusions:
        next(iter(evaluation.confusions.values())).write(target.confusion)
    curves.write(target.curves, scored.truth, predictions.probabilities, predictions.class_names)
    write_skipped(target.skipped, evaluation.skipped)
    write_json(target.metrics, evaluation.metrics)
    write_json(target.about, about)
