"""Fine-tuning: a pretrained backbone with a new head, unfrozen in stages, and scored on held-out images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.split import Split
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.quiet_imports import import_in_background
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.scoring import thresholds_note
from transfer_cli.training import pseudo_labels
from transfer_cli.training.loop import messages, tensorboard
from transfer_cli.training.loop.checkpoints import Checkpoints
from transfer_cli.training.loop.context import TrainingContext, TrainingData
from transfer_cli.training.loop.fine_tuning import fine_tune, refits
from transfer_cli.training.loop.network_setup import build_network
from transfer_cli.training.planning import time_budget
from transfer_cli.training.planning.estimate import FEW_PER_CLASS
from transfer_cli.training.planning.smallest_budget import require_budget
from transfer_cli.training.setup.claim import check_can_start, claim, completed_result
from transfer_cli.training.setup.image_store import decode_all
from transfer_cli.training.setup.resolve import resolve_recipe
from transfer_cli.training.setup.split import make_split, warn_of_few_images, write_split


def finetune(request: TrainingRequest, recipe: FinetuneRecipe) -> TrainingResult:
    """Fine-tune a backbone on a folder of images, and score it.

    The new head is trained first, then the layers that each stage of the recipe unfreezes. After each epoch the network
    is scored on the validation set; the recipe says whether the best or the last epoch is kept, and whether as it is or
    with a classifier fitted anew and averaged with the linear probe. The test set is read once, at the end.

    Parameters
    ----------
    request : TrainingRequest
        A complete run of the same recipe is returned as it is. An unfinished one continues after its last epoch, and
        ends with the weights of an uninterrupted run.
    recipe : FinetuneRecipe

    Raises
    ------
    WeightsError
        If the pretrained weights are missing and cannot be downloaded. Nothing is written.
    UnknownNameError
        If a stage unfreezes from a layer that the backbone does not have.
    RunError
        If the run directory holds another run, or its images or their split have changed since its last epoch.
    FolderError
        If too few images can be read.
    RecipeError
        If training diverges, if a stage unfreezes no layer with weights, or if the time budget is too small.
    InputError
        If no unlabelled image gets a confident pseudo-label.
    OutputError
        If the run cannot be written.
    GateError
        If the accuracy is below the minimum. The run keeps everything but the model.
    MissingExtraError
        If logs for TensorBoard are requested, and it is not installed.
    """
    if request.tensorboard:
        tensorboard.check_installed()
    recipe = resolve_recipe(request, recipe, keeps_model=True)
    check_weights(recipe.backbone.weights, recipe.spec)
    if recipe.unlabelled.folder is None:
        return _train_or_return(request, recipe)
    teacher_request = pseudo_labels.teacher_request(request, recipe)
    teacher = _train_or_return(teacher_request, pseudo_labels.teacher_recipe(recipe))
    labels = pseudo_labels.label_images(request, recipe, teacher.run)
    student = _train_or_return(pseudo_labels.student_request(request, recipe, teacher, labels), recipe)
    pseudo_labels.report_gain(request, teacher, student, labels)
    return replace(student, skipped=(*student.skipped, *labels.unreadable))


def _train_or_return(request: TrainingRequest, recipe: FinetuneRecipe) -> TrainingResult:
    """Train by a resolved recipe, or return the result of a complete run."""
    run = request.run
    planned = time_budget.planned_recipe(request, recipe)
    if run.is_complete(with_model=True, with_features=False) and not request.overwrite:
        recipe = planned or recipe
        run.check_matches(recipe, request.folder.source, request.command)
        if request.tensorboard and (last := Checkpoints(run).read_state()):
            tensorboard.write_all(run, last.history)
        return completed_result(request, partial(_val_note, recipe))
    if planned is None:
        require_budget(request, recipe)
    with run.releasing_lock():
        prepared = prepare(request, planned or recipe)
        if request.time_budget is None or planned is not None:
            claim(request, prepared.recipe)
        else:
            prepared = _plan_and_claim(prepared)
        return _train(prepared)


@dataclass(frozen=True)
class Prepared:
    """A training that has passed all checks; nothing is written yet.

    Attributes
    ----------
    request : TrainingRequest
    recipe : FinetuneRecipe
        Resolved.
    backbone : keras.Model
    device : str
        The devices that TensorFlow found.
    """

    request: TrainingRequest
    recipe: FinetuneRecipe
    backbone: Any
    device: str


def prepare(request: TrainingRequest, recipe: FinetuneRecipe) -> Prepared:
    """Check the weights, the run and the stages of a resolved recipe, and build its backbone."""
    check_can_start(request, recipe)
    return Prepared(request, recipe, *build_network(request, recipe))


def _plan_and_claim(prepared: Prepared) -> Prepared:
    """Fit the epochs into the time budget, claim the run for the shorter recipe, and write the plan into it."""
    from transfer_cli.training.planning.plan import plan_for_budget

    request, wanted = prepared.request, prepared.recipe
    recipe, plan = plan_for_budget(request, wanted, prepared.backbone)
    claim(request, recipe)
    time_budget.write_plan(request, wanted, recipe, plan)
    return replace(prepared, recipe=recipe)


def _train(prepared: Prepared) -> TrainingResult:
    """Train, score and save the network of a run that is claimed."""
    request, recipe, run = prepared.request, prepared.recipe, prepared.request.run
    limit = None if request.time_budget is None else time_budget.TimeBudgetGuard(run, request.begun)
    run.write_environment(recipe.seed, prepared.device)
    with ArrayStore(run.path) as scratch:
        with import_in_background("transfer_cli.classifiers.fit", "scipy.stats", "matplotlib.figure"):
            decoded = decode_all(request, recipe, scratch)
            split, groups = make_split(request, recipe, decoded)
            group_ids = assign_group_ids(decoded.digests, groups)
            data = TrainingData.of(decoded, split, recipe, group_ids)
            context = TrainingContext.build(request, recipe, prepared.backbone, data, split, scratch, limit)
        write_split(request, split, decoded.skipped)
        warn_of_few_images(request, split, FEW_PER_CLASS)
        if "val" not in split.counts():
            request.progress.warn(messages.without_val(recipe))
        trained, note = fine_tune(context, data), _val_note(recipe, split)

        from transfer_cli.training.loop.finalize import finalize

        metrics = finalize(request, recipe, trained, note)
    return TrainingResult.complete(run, split, metrics, decoded.skipped, note)


def _val_note(recipe: FinetuneRecipe, split: Split) -> str:
    """Return how the metrics of val were computed."""
    if "val" not in split.counts():
        return ""
    if recipe.final.classifier == "features":
        chosen = "whether fine-tuning helps was decided on it" if recipe.final.probe == "auto" else ""
        notes = [chosen, "before it was trained on, too"]
    else:
        refit = "before the refit on train + val" if refits(recipe, split) else ""
        notes = ["the best epoch was chosen on it", refit]
    return ", ".join(filter(None, [*notes, thresholds_note(split)]))
