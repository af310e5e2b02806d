"""Evaluate a trained model on a folder of labelled images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.bundle.training_images import ImageRole, TrainingImages
from transfer_cli.catalog import tta as methods
from transfer_cli.catalog.perturbations import VARIANTS
from transfer_cli.catalog.runtimes import AUTO
from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.data.csv_manifest import SEPARATOR, SPLIT_COLUMN
from transfer_cli.data.image_folder import ImageFile, ImageFolder, describe_left_out
from transfer_cli.data.predictions import TRUE_LABEL, Predictions
from transfer_cli.data.skipped import Skipped, write_skipped
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.errors import InputError, OptionError, nearest
from transfer_cli.evaluation.imagenet_folder import with_errors, with_imagenet_names
from transfer_cli.evaluation.paired_predictions import ROLE_COLUMN
from transfer_cli.evaluation.robustness import HEADER, Robustness
from transfer_cli.evaluation.tta_gain import TtaGain
from transfer_cli.html_table import html_table
from transfer_cli.inference.load import load
from transfer_cli.inference.models import IMAGENET, AbstractModel
from transfer_cli.inference.perturbed_model import PerturbedModel
from transfer_cli.inference.predict import predict_files
from transfer_cli.inference.tta import ComparedModel
from transfer_cli.io.atomic import atomic_write, write_json
from transfer_cli.io.cache import Cache
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics import curves
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.metrics_table import score
from transfer_cli.metrics.score import Scores, score_rows, scores_of
from transfer_cli.metrics.scores import SUPPORT, Metrics
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.runs.evaluation_directory import ALL, UNSEEN, EvaluationDirectory
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.runs.score_limits import not_above_chance, without_labels
from transfer_cli.runs.scoring import truth_of, write_predictions
from transfer_cli.text import counted, listed, nan_to_null

_LISTED = 40
"""Classes that a message lists."""


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating a model on a folder.

    Attributes
    ----------
    directory : EvaluationDirectory
    metrics : mapping
        For ``all`` images (or the part that was chosen), for each part of a folder with train/val/test sub-folders, and
        for the ``unseen`` images: those not used for training or model selection, if some were.
    confusions : dict of str to Confusion
        The same keys; empty for multi-label.
    trained_on : int
        Number of images that the model was trained on.
    selected_on : int
        Number of other images by which the best epoch, the temperature, thresholds or the rejection were chosen.
    training_images_known : bool
        Whether the training images are recorded; old bundles without their run do not record them.
    skipped : tuple of Skipped
    gain : TtaGain or None
        The gain from test-time augmentation on `fair_part`; `metrics` are then those with augmentation.
    is_imagenet : bool
        Whether the model is a network with its own 1000 classes.
    class_map : mapping of str to str or None
        The class map that was applied to the folder.
    robustness : Robustness or None
        The accuracy under perturbations on `fair_part`.
    """

    directory: EvaluationDirectory
    metrics: Metrics
    confusions: dict[str, Confusion]
    trained_on: int
    selected_on: int
    training_images_known: bool
    skipped: tuple[Skipped, ...]
    gain: TtaGain | None = None
    is_imagenet: bool = False
    class_map: Mapping[str, str] | None = None
    robustness: Robustness | None = None

    @property
    def fair_part(self) -> str:
        """The key of `metrics` whose images were not used for training or model selection."""
        return UNSEEN if self.trained_on or self.selected_on else next(iter(self.metrics))

    @property
    def scores(self) -> Scores:
        """The metrics of each part with their 95 % intervals: ``scores[evaluation.fair_part]["accuracy"].value``."""
        return scores_of(self.metrics)

    def __repr__(self) -> str:
        rows = "".join(f"\n  {part} {name} {text}" for part, name, text in score_rows(self.scores))
        return f"<Evaluation {self.directory.path}{self._known()}>{rows}"

    def _repr_html_(self) -> str:
        title = f"Evaluation {self.directory.path}{self._known()}"
        return html_table(title, ("part", "metric", "score"), score_rows(self.scores))

    def _known(self) -> str:
        """Return how many of the images the model was trained on or selected by, if any."""
        known = ((self.trained_on, "in training"), (self.selected_on, "to select the model"))
        text = " and ".join(f"{counted(count, 'image')} used {what}" for count, what in known if count)
        return text and f": {text}"

    def classes_without_images(self, part: str) -> tuple[str, ...]:
        """Return the classes of the model that a part has no images of: they are not evaluated."""
        metrics = self.metrics.get(part, {}).items()
        return tuple(
            name.removeprefix(SUPPORT) for name, metric in metrics if name.startswith(SUPPORT) and not metric["value"]
        )


def evaluate(
    model: StrPath,
    folder: ImageFolder | StrPath,
    output: EvaluationDirectory | StrPath,
    *,
    part: str | None = None,
    tta: str | None = None,
    perturb: bool = False,
    seed: int = 0,
    runtime: str = AUTO,
    strict: bool = False,
    offline: bool = False,
    cache: Cache | None = None,
    progress: bool | Progress = False,
) -> Evaluation:
    """Predict the images of a folder with a trained model, and compute its metrics.

    Parameters
    ----------
    model : str or os.PathLike
        A run, a bundle, or ``imagenet:BACKBONE``.
    folder : ImageFolder or path
        All classes of the model, or some of them.
    output : EvaluationDirectory or path
        The folder to write, written completely or not at all.
    part : str, optional
        Evaluate only this part of a folder with train/val/test sub-folders.
    tta : str, optional
        A test-time augmentation of the catalog, or a number of crops. The model is also run without it, on the same
        decoded images, to measure the gain.
    perturb : bool
        Also measure the accuracy under each perturbation of `catalog.perturbations`, on the same decoded images.
    seed : int
        Of the perturbations.
    runtime, strict, offline, cache
        As for loading a model and predicting.
    progress : bool or Progress

    Raises
    ------
    InputError
        When the classes of the folder are not classes of the model, or no image could be read.
    RunError
        When `output` holds something else.
    ModelError
        When the bundle is missing or damaged.
    """
    model, progress = as_text(model, "a run or a bundle"), progress_of(progress)
    folder = folder if isinstance(folder, ImageFolder) else ImageFolder.scan(folder, for_training=False)
    output = output if isinstance(output, EvaluationDirectory) else EvaluationDirectory(output)
    if tta is not None:
        tta = methods.find(tta).name
        if perturb:
            raise OptionError("--tta and --perturb cannot be combined: each runs the model on images of its own.")
    is_imagenet = model.startswith(IMAGENET)
    if is_imagenet:
        folder = with_imagenet_names(model, folder, offline=offline, progress=progress)
    about = _about(model, folder, part, tta, perturb)
    output.check_free(folder, about)
    files = _select(folder, part)
    if left_out := describe_left_out(folder.left_out):
        progress.note(left_out)
    for line in folder.selection_notes:
        progress.note(line)
    for line in folder.warnings():
        progress.warn(line)
    with progress.track("loading the model", None):
        loaded = load(model, runtime=runtime, images=len(files), offline=offline, cache=cache, progress=progress)
    _check_classes(loaded, folder, files)
    training_images = None if is_imagenet else training_images_of(model)
    compared = None if tta is None else ComparedModel(loaded, tta)
    perturbed = PerturbedModel(loaded, seed) if perturb else None
    if perturbed:
        progress.note(f"{perturbed.passes} passes per image: as it is, and under each perturbation")
    read, predictions = _predict(compared or perturbed or loaded, folder, files, strict, progress)
    roles = (training_images or TrainingImages.of(())).roles_of(predictions.digests)
    labelled = _LabelledPredictions(read, predictions, roles, folder.task)
    with progress.track("computing metrics", None):
        metrics, confusions = labelled.score(part)
        if is_imagenet:
            metrics = {name: with_errors(dict(values)) for name, values in metrics.items()}
    known, counts, skipped = training_images is not None, Counter(roles), predictions.skipped
    used = (counts["train"], counts["val"], known)
    evaluation = Evaluation(output, metrics, confusions, *used, skipped, None, is_imagenet, about.get("class_map"))
    if compared:
        with progress.track("computing the gain from test-time augmentation", None):
            evaluation = replace(evaluation, gain=labelled.gain(compared, evaluation.fair_part, part))
    if perturbed:
        with progress.track("computing the accuracy under perturbations", None):
            robustness = labelled.robustness(perturbed, evaluation.fair_part, part, seed)
        evaluation = replace(evaluation, robustness=robustness)
        about |= {"robustness": robustness.to_dict()}
    about |= {"training_images_known": known} | ({"gain": evaluation.gain.to_dict()} if evaluation.gain else {})
    with atomic_write(output.path) as draft:
        draft.mkdir()
        _write(EvaluationDirectory(draft), evaluation, labelled, about)
    return evaluation


def _about(model: str, folder: ImageFolder, part: str | None, tta: str | None, perturb: bool) -> dict[str, Any]:
    """Return the model, the folder and the settings, as in evaluation.json."""
    class_map, omit = folder.selection.class_map, folder.selection.omit
    name = model if model.startswith(IMAGENET) else str(Path(model).resolve())
    about = {"model": name, "folder": str(folder.source.resolve()), "part": part}
    optional = {
        "tta": tta,
        "perturb": perturb,
        "class_map": class_map and dict(class_map.targets),
        # Without a table it is the map of the model.
        "class_map_sha256": class_map and class_map.lines and class_map.sha256,
        "omit_sha256": omit and omit.sha256,
    }
    return about | {name: value for name, value in optional.items() if value}


def _select(folder: ImageFolder, part: str | None) -> list[ImageFile]:
    if part is None:
        return list(folder.files)
    selected = [file for file in folder.files if file.part == part]
    if not selected:
        available = [name for name in PARTS if any(file.part == name for file in folder.files)]
        received = f"a folder with {', '.join(available)}" if available else "a folder without train/val/test parts"
        hint = "Leave out --part to evaluate all images."
        raise InputError(f"{folder.source} has no {part} images. Received: {received}.", hint=hint)
    return selected


def _check_classes(model: AbstractModel, folder: ImageFolder, files: list[ImageFile]) -> None:
    task = SINGLE_LABEL if model.thresholds is None else MULTI_LABEL
    if task != folder.task:
        expected = "one class per image" if task == SINGLE_LABEL else "a CSV file with the columns path,labels"
        raise InputError(f"The model is {task}, but {folder.source} is {folder.task}. Expected {expected}.")
    known = set(model.class_names)
    unknown = [name for name in folder.class_names if name not in known]
    if unknown:
        guesses = [f"{name} (did you mean {guess}?)" if (guess := nearest(name, known)) else name for name in unknown]
        raise InputError(
            f"{folder.source} has classes that the model does not know: {listed(guesses, _LISTED)}.\n"
            f"Expected some of: {listed(model.class_names, _LISTED)}.\n"
            f"Received: {listed(folder.class_names, _LISTED)}.",
            hint="Name the class of the model for each of them in a table with the columns from,to (an empty `to` "
            "leaves the class out), and add: --class-map FILE.csv",
        )


def _predict(
    model: AbstractModel, folder: ImageFolder, files: list[ImageFile], strict: bool, progress: Progress
) -> tuple[tuple[ImageFile, ...], Predictions]:
    """Return the images that could be read, and their predictions in the same order."""
    file_of = {str(folder.root / file.path): file for file in files}
    batches: list[Predictions] = []
    with progress.track("predicting", len(files)) as advance:
        for batch in predict_files(model, file_of, strict=strict):
            batches.append(batch)
            advance(len(batch.paths) + len(batch.skipped))
    skipped = tuple(Skipped(file_of[item.path].path, item.reason) for batch in batches for item in batch.skipped)
    read = tuple(file_of[path] for batch in batches for path in batch.paths)
    if not read:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        raise InputError(f"None of the {counted(len(files), 'image')} of {folder.source} could be read.{reasons}")
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    digests = tuple(digest for batch in batches for digest in batch.digests)
    paths = tuple(file.path for file in read)
    return read, Predictions(paths, model.class_names, probabilities, skipped, model.thresholds, digests=digests)


class _LabelledPredictions:
    """Predictions beside the true labels.

    Parameters
    ----------
    files : tuple of ImageFile
    predictions : Predictions
    roles : tuple of {"train", "val", "unseen"}
        How the model used each image.
    task : str

    Attributes
    ----------
    files, predictions, roles
    truth : ndarray of shape (n,) or (n, k), int
    thresholds : ndarray of shape (k,) or None
    """

    def __init__(
        self, files: tuple[ImageFile, ...], predictions: Predictions, roles: tuple[ImageRole, ...], task: str
    ) -> None:
        self.files, self.predictions, self.roles = files, predictions, roles
        self.truth = truth_of([file.labels for file in files], predictions.class_names, task)
        self.thresholds = None if predictions.thresholds is None else np.array(predictions.thresholds)

    def score(self, part: str | None) -> tuple[Metrics, dict[str, Confusion]]:
        """Return metrics and confusion matrices of all images, of each part, and of the unseen images."""
        masks, names = self._masks(part), self.predictions.class_names
        metrics, confusions = {}, {}
        for name, mask in masks.items():
            truth, probabilities = self.truth[mask], self.predictions.probabilities[mask]
            values = without_labels(truth, score(truth, probabilities, self.thresholds, names))
            shown = "" if name == ALL else name
            metrics[name] = values | not_above_chance(shown, truth, values, names)
            if self.thresholds is None:
                confusions[name] = Confusion.of(truth, probabilities.argmax(axis=1), names)
        return metrics, confusions

    def gain(self, compared: ComparedModel, fair_part: str, part: str | None) -> TtaGain:
        """Return the gain from test-time augmentation on `fair_part`, or on all images if that part is empty."""
        name, mask = self._fair(fair_part, part)
        both = self.predictions.probabilities[mask], compared.unaugmented[mask]
        method, names, truth = compared.spec.name, self.predictions.class_names, self.truth[mask]
        return TtaGain.of(method, name, names, truth, *both, compared.cost, self.thresholds)

    def robustness(self, perturbed: PerturbedModel, fair_part: str, part: str | None, seed: int) -> Robustness:
        """Return the accuracy under perturbations on `fair_part`, or on all images if that part is empty."""
        name, mask = self._fair(fair_part, part)
        probabilities = self.predictions.probabilities
        clean = probabilities.argmax(axis=1) if self.thresholds is None else probabilities >= self.thresholds
        predicted = [perturbed.predicted(number)[mask] for number in range(len(VARIANTS))]
        return Robustness.of(name, seed, self.truth[mask], clean[mask], predicted)

    def _fair(self, fair_part: str, part: str | None) -> tuple[str, NDArray[np.bool_]]:
        masks = self._masks(part)
        name = fair_part if fair_part in masks else next(iter(masks))
        return name, masks[name]

    def _masks(self, part: str | None) -> dict[str, NDArray[np.bool_]]:
        masks = {part or ALL: np.ones(len(self.files), bool)}
        of_part = {name: np.array([file.part == name for file in self.files], bool) for name in PARTS}
        if part is None and sum(mask.any() for mask in of_part.values()) > 1:
            masks |= {name: mask for name, mask in of_part.items() if mask.any()}
        unseen = np.array([role == "unseen" for role in self.roles], bool)
        if unseen.any() and not unseen.all():
            masks[UNSEEN] = unseen
        return masks


def _write(
    target: EvaluationDirectory, evaluation: Evaluation, labelled: _LabelledPredictions, about: dict[str, Any]
) -> None:
    files, predictions = labelled.files, labelled.predictions
    truth = [SEPARATOR.join(file.labels) for file in files]
    write_predictions(target.predictions, predictions, truth)
    header = ("path", "sha256", TRUE_LABEL, SPLIT_COLUMN, ROLE_COLUMN)
    parts = [file.part or "" for file in files]
    rows = zip(predictions.paths, predictions.digests, truth, parts, labelled.roles, strict=True)
    write_table(target.images, header, rows)
    if evaluation.confusions:
        next(iter(evaluation.confusions.values())).write(target.confusion)
    curves.write(target.curves, labelled.truth, predictions.probabilities, predictions.class_names)
    write_skipped(target.skipped, evaluation.skipped)
    if evaluation.robustness:
        write_table(target.perturbations, HEADER, evaluation.robustness.table())
        evaluation.robustness.plot(target.perturbations_plot)
    write_json(target.metrics, nan_to_null(evaluation.metrics))
    write_json(target.about, about)
