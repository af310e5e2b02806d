"""What a fine-tuning would do, found out without doing it: nothing is written."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Unpack

import numpy as np

from transfer_cli.catalog import backbones
from transfer_cli.data.image_folder import ImageFolder, describe_left_out
from transfer_cli.errors import FolderError, RecipeError
from transfer_cli.models.weights.registry import cache_folder, imagenet_files, is_here, must_be_known
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import Options, TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.training.loop.network_setup import build_network
from transfer_cli.training.loop.trainer import refits
from transfer_cli.training.planning import time_budget
from transfer_cli.training.planning.estimate import Plan, PlanInputs, WeightsNeeded, plan_of
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.preflight import Survey, decode_rows, survey


def plan(folder: ImageFolder, recipe: FinetuneRecipe, run: RunDirectory, **options: Unpack[Options]) -> Plan:
    """Return what `finetune` with the same words would do, timed on a handful of pictures; nothing is written.

    The parts are those that the run would have: every picture is read, as a run does.

    Parameters
    ----------
    folder : ImageFolder
    recipe : FinetuneRecipe
    run : RunDirectory
        Where it would be written; an earlier split there is followed.
    **options
        See training.Options. With a time budget the plan is that of the epochs that fit into it.

    Raises
    ------
    TransferError
        Where the run would, but for weights that are not here: the network is then timed with random ones.
    """
    request = TrainingRequest(folder, run, **options)
    recipe = lifecycle.resolved(request, recipe, keeps_model=True)
    must_be_known(recipe.backbone.weights)
    if recipe.unlabelled.folder is not None:
        raise RecipeError("A plan does not know of unlabelled pictures, which are learnt from in a second training.")
    planned = time_budget.going_on(request, recipe)
    run.must_be_free(planned or recipe, folder.source, overwrite=request.overwrite)
    for line in filter(None, [folder.summary(), describe_left_out(folder.left_out)]):
        request.progress.note(line)
    if (run.checkpoints.exists() or run.metrics.exists()) and not request.overwrite:
        request.progress.warn(f"{run.path} was begun already: this is what a run from the beginning would do")
    weights = weights_needed(recipe)
    built = recipe
    if not all(file.here for file in weights):
        built = recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"weights": "none"})})
        request.progress.note("the weights are not here: this is timed on random ones")
    features, _ = build_network(request, built)
    start, begun = time.monotonic() - request.begun, time.monotonic()
    found = survey(request, recipe, decodes=True)
    reading = (time.monotonic() - begun) / max(len(found.indices), 1)
    basis = replace(measured(request, built, features, found, weights), start=start, reading=reading)
    if request.time_budget is None:
        return plan_of(recipe, basis)
    # Planning is part of such a run.
    basis = replace(basis, start=time.monotonic() - request.begun - reading * len(found.indices))
    chosen, result = time_budget.fitted(recipe, basis, request.time_budget)
    train = found.split.counts()["train"]
    request.progress.note(time_budget.what_was_chosen(recipe, chosen, result, train, request.time_budget))
    return result


def into_budget(request: TrainingRequest, recipe: FinetuneRecipe, features: Any) -> tuple[FinetuneRecipe, Plan]:
    """Return the recipe of a run that has a time budget, and its plan.

    Parameters
    ----------
    request : Request
        With a time budget.
    recipe : FinetuneRecipe
        Resolved.
    features : keras.Model
        The backbone; it is left as it was.
    """
    assert request.time_budget is not None
    # What is to be said of the parts is said once, by the run.
    found = survey(request.silent(), recipe, decodes=False)
    with request.progress.track("timing the work on a few pictures", None):
        basis = measured(request, recipe, features, found, weights_needed(recipe))
    chosen, result = time_budget.fitted(recipe, basis, request.time_budget)
    train = found.split.counts()["train"]
    request.progress.note(time_budget.what_was_chosen(recipe, chosen, result, train, request.time_budget))
    return chosen, result


def measured(
    request: TrainingRequest, recipe: FinetuneRecipe, features: Any, found: Survey, weights: tuple[WeightsNeeded, ...]
) -> PlanInputs:
    """Time the work of a recipe on a handful of the pictures it would train on."""
    from transfer_cli.training.loop.micro_batches import memory_explained
    from transfer_cli.training.planning import profiling

    split, truth = found.split, found.split.truth()
    counts = split.counts()
    train = np.flatnonzero(split.mask("train"))
    wanted = _in_turn(train.tolist(), [split.rows[row].truth for row in train])[: profiling.BATCHES * recipe.step_size]
    begun = time.monotonic()
    decoded, rows = decode_rows(request, recipe, found, wanted)
    reading = (time.monotonic() - begun) / len(wanted)
    if not rows:
        raise FolderError(
            f"None of the {len(wanted)} pictures of {request.folder.source} that were tried could be read."
        )
    few = profiling.ProfilingSample(
        decoded.images,
        np.array(decoded.indices, np.int64),
        truth[rows],
        len(split.class_names),
        counts["train"],
        "val" in counts,
    )
    stages = [stage.for_pictures(counts["train"], recipe.step_size) for stage in recipe.stage]
    with memory_explained():
        timed = profiling.measure(features, recipe, stages, few, request.progress)
    start = time.monotonic() - request.begun
    return PlanInputs(split, len(found.skipped), refits(recipe, split), start, reading, timed, weights)


def weights_needed(recipe: FinetuneRecipe) -> tuple[WeightsNeeded, ...]:
    """Return the files of pretrained weights that a resolved recipe takes."""
    if recipe.backbone.weights != "imagenet":
        return ()
    spec = backbones.find(recipe.backbone.name)
    found = []
    for file in imagenet_files(spec, top=False, size=recipe.image_size):
        here = is_here(file)
        size = (cache_folder() / file.name).stat().st_size / 1e6 if here else spec.parameters_below_top * 4 / 1e6
        found.append(WeightsNeeded(file.name, round(size, 1), here))
    return tuple(found)


def _in_turn(rows: Iterable[int], classes: Iterable[str]) -> list[int]:
    """Return rows so that one of each class comes first, then a second of each."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, name in zip(rows, classes, strict=True):
        members[name].append(row)
    return [row for turn in zip_longest(*members.values()) for row in turn if row is not None]
