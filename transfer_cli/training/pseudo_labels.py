"""Pseudo-labels: unlabelled images are trained on with the label that a first network, the teacher, predicts.

One round of self-training: a teacher is trained without the unlabelled images, labels those that it is confident
about, and a second network, the student, is trained on all of them.

References
----------
Lee 2013, "Pseudo-Label: The simple and efficient semi-supervised learning method".
Xie et al. 2020, "Self-training with noisy student improves ImageNet classification".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data import image_batches
from transfer_cli.data.image_folder import ImageFile
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import FolderError, InputError, RecipeError, RunError
from transfer_cli.inference.load import load
from transfer_cli.io.csv_tables import read_table, write_table
from transfer_cli.io.discovery import describe_left_out, expand_paths
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.sections import Unlabelled
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted
from transfer_cli.training.loop.fine_tuning import refits

HEADER = ("path", "sha256", "label", "confidence", "used", "reason")
_SIDE = 32
"""Of the images that are only read to see whether they can be."""
DUPLICATE = "another image has the same bytes"


@dataclass(frozen=True)
class PseudoLabel:
    """The prediction of the teacher on an unlabelled image; `reason` says why there is none."""

    path: str
    sha256: str
    label: str
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class PseudoLabels:
    """The pseudo-labels of all unlabelled images.

    Attributes
    ----------
    rows : tuple of PseudoLabel
    minimum : float
        The lowest confidence of a label that is trained on.
    """

    rows: tuple[PseudoLabel, ...]
    minimum: float

    @property
    def predicted(self) -> tuple[PseudoLabel, ...]:
        """Those that the teacher predicted."""
        return tuple(row for row in self.rows if not row.reason)

    @property
    def confident(self) -> tuple[PseudoLabel, ...]:
        """Those that are trained on."""
        return tuple(row for row in self.predicted if row.confidence >= self.minimum)

    @property
    def unreadable(self) -> tuple[Skipped, ...]:
        """The files that could not be read."""
        return tuple(Skipped(row.path, row.reason) for row in self.rows if row.reason and row.reason != DUPLICATE)


def teacher_request(request: TrainingRequest, recipe: FinetuneRecipe) -> TrainingRequest:
    """Check the unlabelled images, and return the request of the training without them.

    The teacher is a run of its own beside the other, so that the gain can be seen and either can be used.

    Raises
    ------
    FolderError
        If the folder of unlabelled images does not exist, has no image, or contains labelled ones.
    RecipeError
        If images have several labels, or there is a time budget.
    RunError
        If the run directory holds another run.
    """
    place, folder = Path(recipe.unlabelled.folder or ""), request.folder
    if request.time_budget is not None:
        raise RecipeError(
            "A time budget cannot be planned with unlabelled images, which need a second training.",
            hint="Leave out one of --time-budget and --unlabelled.",
        )
    if folder.task != SINGLE_LABEL:
        raise RecipeError("unlabelled.folder needs exactly one class per image. Received: images with several labels.")
    if not place.is_dir():
        raise FolderError(f"The folder of unlabelled images, {place}, does not exist.")
    if any((folder.root / file.path).absolute().is_relative_to(place.absolute()) for file in folder.files):
        raise FolderError(
            f"{place} contains labelled images of {folder.source}. Expected a folder of unlabelled images only."
        )
    _check_has_images(place, request)
    run, split, teacher = request.run, request.split, RunDirectory(teacher_path(request.run))
    run.check_free(recipe, folder.source, command=request.command, overwrite=request.overwrite)
    if split is None and run.split.is_file():
        split = Split.read(run.split)
    request.progress.note(f"first, training without the unlabelled images: {teacher.path}")
    # The minimum accuracy is required of the student.
    return replace(request, run=teacher, split=split, min_accuracy=None)


def _check_has_images(place: Path, request: TrainingRequest) -> None:
    """Report what is left out of the unlabelled images; raise FolderError if none remains, or none can be read."""
    left_out: Counter[str] = Counter()
    paths = [path for path in expand_paths([str(place)], left_out) if Path(path).is_file()]
    text = describe_left_out(left_out)
    if not paths:
        received = f" Received: {text}." if text else ""
        raise FolderError(f"{place} has no image. Expected a folder of unlabelled images.{received}")
    if text:
        request.progress.note(f"{place}: {text}")
    skipped: list[Skipped] = []
    for batch in image_batches.batches(paths, size=_SIDE, resize="squash", batch_size=1):
        if batch.indices:
            return
        skipped += batch.skipped
    raise FolderError(
        f"No image in {place} can be read ({counted(len(paths), 'file')}). Expected a folder of unlabelled images. "
        f"Received, for example, {skipped[0].path}: {skipped[0].reason}."
    )


def teacher_recipe(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """Return the recipe without unlabelled images."""
    return recipe.model_copy(update={"unlabelled": Unlabelled()})


def teacher_path(run: RunDirectory) -> Path:
    """Return the directory of the run without unlabelled images, RUN-supervised."""
    # A path such as . has no name of its own.
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    return path.with_name(f"{path.name}-supervised")


def label_images(request: TrainingRequest, recipe: FinetuneRecipe, teacher: RunDirectory) -> PseudoLabels:
    """Predict the unlabelled images with the teacher, or read the labels that an earlier command wrote.

    An image with the same bytes as a labelled one gets no pseudo-label.

    Raises
    ------
    RunError
        If an earlier command labelled other images.
    InputError
        If no label is confident enough.
    """
    folder = Path(recipe.unlabelled.folder or "")
    paths = sorted(str(Path(path).absolute()) for path in expand_paths([str(folder)]))
    labels = _read_labels(teacher, recipe) if teacher.unlabelled.is_file() else None
    if labels is None or [row.path for row in labels.rows] != paths:
        if labels is not None and request.run.recipe.is_file() and not request.overwrite:
            raise RunError(
                f"{teacher.path} has labelled other images than are in {folder} now.",
                hint="Add --overwrite to start both runs again, or choose another place with -o RUN.",
            )
        _write_labels(teacher, _predict(request, recipe, paths, teacher))
        labels = _read_labels(teacher, recipe)
    predicted, confident = labels.predicted, labels.confident
    if not confident:
        highest = max((row.confidence for row in predicted), default=0.0)
        raise InputError(
            f"None of {counted(len(predicted), 'new image')} is classified with a confidence of at "
            f"least {labels.minimum:.7g}; "
            f"the highest confidence is {highest:.7g}. {teacher.path} is complete without them.",
            hint="Lower the minimum with --set unlabelled.confidence=0.8, or use that run.",
        )
    counts = Counter(row.label for row in confident)
    per_class = ", ".join(f"{name} {count}" for name, count in counts.most_common(20))
    request.progress.note(
        f"pseudo-labels: {len(confident)} of {counted(len(predicted), 'unlabelled image')}, {per_class}"
    )
    return labels


def student_request(
    request: TrainingRequest, recipe: FinetuneRecipe, teacher: TrainingResult, labels: PseudoLabels
) -> TrainingRequest:
    """Return the request of the training on labelled and pseudo-labelled images, with the test set of the teacher.

    If the teacher was refit on val, its labels depend on val: a student would do well on it for that reason alone. The
    validation set then joins the training set, and the student is compared on test.
    """
    confident, split = labels.confident, Split.read(teacher.run.split)
    rows = [*split.rows, *(SplitRow(row.path, row.sha256, (row.label,), "train") for row in confident)]
    files = [*request.folder.files, *(ImageFile(row.path, (row.label,), "train") for row in confident)]
    if refits(recipe, split):
        rows = [replace(row, part="train") if row.part == "val" else row for row in rows]
    # A student of a teacher that is gone has to be trained again.
    is_outdated = request.overwrite or not teacher.was_complete
    return replace(
        request,
        folder=replace(request.folder, files=tuple(sorted(files, key=lambda file: file.path))),
        split=replace(split, rows=tuple(rows)),
        overwrite=is_outdated and request.run.recipe.is_file(),
    )


def report_gain(
    request: TrainingRequest, teacher: TrainingResult, student: TrainingResult, labels: PseudoLabels
) -> None:
    """Report the accuracy of teacher and student on each part of the split that both were scored on."""
    gains = {}
    for part, metrics in student.metrics.items():
        if part in teacher.metrics:
            was, now = teacher.metrics[part]["accuracy"]["value"], metrics["accuracy"]["value"]
            gains[part] = now - was
            gain = f"{now:.3f} with {len(labels.confident)} of them: {now - was:+.3f}"
            request.progress.note(f"{part:5} accuracy {was:.3f} without unlabelled images, {gain}")
    if gains.get("val", 0) < 0:
        request.progress.warn(f"val accuracy is lower with the unlabelled images: use {teacher.run.path}")


def _predict(
    request: TrainingRequest, recipe: FinetuneRecipe, paths: Sequence[str], teacher: RunDirectory
) -> PseudoLabels:
    """Return the predictions of the teacher on all images, sorted by path."""
    model = load(str(teacher.path), offline=request.offline, cache=request.cache, progress=request.progress)
    names, known = model.class_names, {row.sha256 for row in Split.read(teacher.split).rows}
    labels: list[PseudoLabel] = []
    batches = image_batches.view_batches(
        paths,
        [recipe.view],
        batch_size=recipe.batch_size,
        strict=request.strict,
    )
    with request.progress.track("predicting the unlabelled images", len(paths)) as advance:
        for batch in batches:
            probabilities = model.predict_proba(batch.images) if batch.paths else ()
            for path, digest, row in zip(batch.paths, batch.digests, probabilities, strict=True):
                best = int(row.argmax())
                predicted = (names[best], float(row[best])) if digest not in known else ("", 0.0, DUPLICATE)
                labels.append(PseudoLabel(path, digest, *predicted))
                known.add(digest)
            labels += [PseudoLabel(item.path, "", "", 0.0, item.reason) for item in batch.skipped]
            advance(len(batch.paths) + len(batch.skipped))
    if count := sum(row.reason == DUPLICATE for row in labels):
        request.progress.note(f"{counted(count, 'unlabelled image', 'is')} left out: {DUPLICATE}")
    return PseudoLabels(tuple(sorted(labels, key=lambda row: row.path)), recipe.unlabelled.confidence)


def _write_labels(teacher: RunDirectory, labels: PseudoLabels) -> None:
    used = {row.path for row in labels.confident}
    # Nine digits restore a float32 exactly, so that a label passes the minimum each time or never.
    table = [
        (row.path, row.sha256, row.label, f"{row.confidence:.9g}", "yes" if row.path in used else "no", row.reason)
        for row in labels.rows
    ]
    write_table(teacher.unlabelled, HEADER, table)


def _read_labels(teacher: RunDirectory, recipe: FinetuneRecipe) -> PseudoLabels:
    rows = (
        PseudoLabel(row["path"], row["sha256"], row["label"], float(row["confidence"]), row["reason"])
        for row in read_table(teacher.unlabelled, HEADER)
    )
    return PseudoLabels(tuple(rows), recipe.unlabelled.confidence)
