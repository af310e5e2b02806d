"""How a run begins: the checks before its training starts and its claim, or its result if it is complete already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from transfer_cli.catalog import backbones
from transfer_cli.data.sample_warnings import sample_warnings
from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import ImageError, RunConflictError
from transfer_cli.inference.earlier_run import EarlierRun
from transfer_cli.io.atomic import check_writable_folder
from transfer_cli.models.weights.registry import feature_files, require_available
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.accuracy_gate import check_accuracy
from transfer_cli.runs.recipe_differences import typed_differences
from transfer_cli.runs.request import TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.score_limits import REAL_WEIGHTS
from transfer_cli.runs.selection_tables import write_tables
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import counted

_LABEL_OPTIONS = ("--class-level", "--label-column", "--path-column", "--class-map", "--omit")
"""Options that give the same images other classes."""


def check_can_start(request: TrainingRequest, recipe: Recipe) -> None:
    """Check the weights and the run of a resolved recipe, and report on the folder; nothing is written to the run.

    Raises
    ------
    WeightsError
        If the pretrained weights are missing and cannot be downloaded.
    RunConflictError
        If the run directory holds another run, or something that is not a run.
    """
    folder, progress = request.folder, request.progress
    spec = recipe.spec
    check_weights_available(request, recipe)
    request.run.check_free(recipe, folder.source, command=request.command, overwrite=request.overwrite)
    check_writable_folder(request.run.path)
    if not request.overwrite and (damage := request.run.damage()):
        progress.warn(f"{damage}: the run is not complete, and is trained again")
    elif not request.overwrite and request.run.has_results(recipe) and request.run.split.is_file():
        _check_same_split(request, Split.read(request.run.split))
    report_folder(request)
    for line in sample_warnings_of(request, recipe):
        progress.warn(line)
    has_random = recipe.backbone.weights == "none" and spec.parameters > 0 and not spec.is_handcrafted
    if has_random and (spec.is_pretrained or not recipe.trains_all):
        progress.warn("the backbone has random weights (--weights none): expect a low score")
    elif recipe.backbone.weights == backbones.EMBEDDED:
        progress.note(f"embedded is a small network trained on generated images. For a better score, {REAL_WEIGHTS}")


def check_weights_available(request: TrainingRequest, recipe: Recipe) -> None:
    """Raise WeightsError if ImageNet weights are missing; called before TensorFlow is loaded, which takes seconds."""
    if recipe.backbone.weights == "imagenet":
        files = feature_files(recipe.spec, recipe.backbone.layer, size=recipe.image_size)
        require_available(files, offline=request.offline, size=recipe.image_size)


def sample_warnings_of(request: TrainingRequest, recipe: Recipe) -> list[str]:
    """Return warnings about what the images hold that the recipe does not read."""
    paths = (file.path for file in request.folder.files)
    return sample_warnings(request.folder.root, paths, recipe.images.bit_depth)


def report_folder(request: TrainingRequest) -> None:
    """Report the classes and numbers of images, what is left out, and what may be read in another way than meant."""
    for line in request.folder.notes():
        request.progress.note(line)
    for line in request.folder.warnings():
        request.progress.warn(line)


def claim(request: TrainingRequest, recipe: Recipe) -> None:
    """Claim the run for a resolved recipe: from here on, results of an earlier run are gone.

    Call this once everything that can fail early has been tried.
    """
    if request.on_claim is not None:
        request.on_claim()
    folder, run = request.folder, request.run
    run.claim(recipe, folder.source, command=request.command, overwrite=request.overwrite)
    run.write_images(folder.images_elsewhere)
    if recipe.backbone.starts_from_run:
        EarlierRun.open(Path(recipe.backbone.weights)).training_images.save(run.earlier_images)
    write_tables(run, folder.selection)
    run.log("begin", folder=str(folder.source.resolve()), images=len(folder.files), backbone=recipe.backbone.name)


def completed_result(request: TrainingRequest, val_note: Callable[[Split], str]) -> TrainingResult:
    """Return the result of a complete run; warn if the folder has changed since."""
    run, folder = request.run, request.folder
    skipped = read_skipped(run.skipped)
    if request.strict and skipped:
        raise ImageError(f"{skipped[0].path} could not be read: {skipped[0].reason}.")
    split = Split.read(run.split)
    _check_same_split(request, split)
    metrics, note = run.read_metrics(), val_note(split)
    check_accuracy(request, metrics, note, was_complete=True)
    known = {row.path for row in split.rows} | {item.path for item in skipped}
    new = [file.path for file in folder.files if file.path not in known]
    missing = known - {file.path for file in folder.files}
    if new or missing:
        request.progress.warn(
            f"the folder has changed since this run: {counted(len(new), 'new image')}, {len(missing)} missing. "
            f"To use the folder as it is now, add --overwrite{'; the test images stay the same' * split.is_labelled}"
        )
    return TrainingResult(run, metrics, skipped, note, was_complete=True, is_uneven=is_uneven(split))


def _check_same_split(request: TrainingRequest, split: Split) -> None:
    """Raise RunConflictError if an image of an earlier run has other labels now, or is in another part of the split.

    The labels differ for another class level, or an edited table.
    """
    if split.is_labelled != request.folder.is_labelled:
        there, here = ("labels", "none") if split.is_labelled else ("no labels", "some")
        raise RunConflictError(request.run.path, [f"the images have {there} there and {here} here"])
    labels_of = {row.path: row.labels for row in split.rows}
    changed = [file for file in request.folder.files if {*file.labels} != {*labels_of.get(file.path, file.labels)}]
    if changed:
        before, now = (", ".join(labels) or "no label" for labels in (labels_of[changed[0].path], changed[0].labels))
        images = counted(len(changed), "image")
        example = f"{changed[0].path} is {before} there, and {now} in this command ({images} differ)"
        raise RunConflictError(request.run.path, [*_typed_differences(request, _LABEL_OPTIONS), example])
    requested = {row.path: row.part for row in request.split.rows} if request.split else {}
    for row in split.rows:
        if (part := requested.get(row.path, row.part)) != row.part:
            example = f"{row.path} is in {row.part} there, and in {part} in the split of this command"
            raise RunConflictError(request.run.path, [*_typed_differences(request, ("--split",)), example])


def _typed_differences(request: TrainingRequest, options: Sequence[str]) -> list[str]:
    return typed_differences(options, TypedOptions.read(request.run.command), TypedOptions(request.command))
