"""`finetune --plan`: what a fine-tuning will do and how long it takes, without writing anything."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from transfer_cli.errors import FolderError, RecipeError
from transfer_cli.models.weights.own_weights import check_weights
from transfer_cli.models.weights.registry import cache_folder, feature_files, is_installed
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted
from transfer_cli.training.loop.context import TrainingData
from transfer_cli.training.loop.fine_tuning import refits
from transfer_cli.training.loop.network_setup import build_network
from transfer_cli.training.planning import rough_timing, time_budget, timed_step
from transfer_cli.training.planning.estimate import Plan, PlanInputs, RequiredWeights, estimate_plan
from transfer_cli.training.planning.smallest_budget import require_budget
from transfer_cli.training.setup.claim import report_folder
from transfer_cli.training.setup.preflight import Survey, decode_rows, survey
from transfer_cli.training.setup.resolve import resolve_recipe

SECONDS = 18.0
"""A plan takes no longer than this, besides the time to read many images."""


def plan(request: TrainingRequest, recipe: FinetuneRecipe) -> Plan:
    """Return what `finetune` will do, timed on a few images; nothing is written.

    The split is that of the run: each image is read, as the run does.

    Parameters
    ----------
    request : TrainingRequest
        The split of an earlier run in the same place is followed. With a time budget, the plan has the epochs that fit.
    recipe : FinetuneRecipe

    Raises
    ------
    TransferError
        Whenever the run would fail, except for missing weights: the network is then timed with random ones.
    """
    run = request.run
    recipe = resolve_recipe(request, recipe, keeps_model=True)
    check_weights(recipe.backbone.weights, recipe.spec)
    if recipe.unlabelled.folder is not None:
        raise RecipeError(
            "--plan cannot plan with unlabelled images, which need a second training.",
            hint="Leave out one of --plan and --unlabelled.",
        )
    planned = time_budget.planned_recipe(request, recipe)
    run.check_free(planned or recipe, request.folder.source, command=request.command, overwrite=request.overwrite)
    report_folder(request)
    if (run.checkpoints.exists() or run.metrics.exists()) and not request.overwrite:
        request.progress.warn(f"{run.path} is started already: this is the plan of the whole run")
    weights = required_weights(recipe)
    built = recipe
    if not all(file.is_downloaded for file in weights):
        built = recipe.with_settings("backbone", weights="none")
        request.progress.note("the pretrained weights are not downloaded: timing with random weights")
    if planned is None:
        require_budget(request, recipe)
    inputs = _profiled(request, built, weights) or _estimated(request, built, weights, decodes=True)
    if request.time_budget is None:
        return estimate_plan(recipe, inputs)
    return _fit_budget(request, recipe, inputs, request.time_budget)[1]


def _profiled(
    request: TrainingRequest, recipe: FinetuneRecipe, weights: tuple[RequiredWeights, ...]
) -> PlanInputs | None:
    """Time all parts of a run, each image read; None if that takes too long with this network."""
    if not rough_timing.profiled_batches(recipe, 1):
        return None
    backbone, _ = build_network(request, recipe)
    start, reading_since = time.monotonic() - request.begun, time.monotonic()
    surveyed = survey(request, recipe, decodes=True)
    read = time.monotonic() - reading_since
    inputs = measure_inputs(request, recipe, backbone, surveyed, weights)
    # A run with a budget plans as well.
    start = start if request.time_budget is None else time.monotonic() - request.begun - read
    return replace(inputs, start_seconds=start, read_seconds=read / max(len(surveyed.indices), 1))


def _estimated(
    request: TrainingRequest, recipe: FinetuneRecipe, weights: tuple[RequiredWeights, ...], *, decodes: bool
) -> PlanInputs:
    """Estimate the work of a recipe from multiply-adds and a small step, which is timed while the images are read."""
    deadline = (request.begun if decodes else time.monotonic()) + SECONDS
    with timed_step.StepTimer(recipe, len(request.folder.class_names)) as timer:
        begun = time.monotonic()
        surveyed = survey(request, recipe, decodes=decodes)
        read = time.monotonic() - begun
        with request.progress.track("timing a small step of the network", None):
            facts = timer.facts(deadline, request.progress)
    name = recipe.backbone.name
    if facts.forward_seconds is None:
        request.progress.note(
            f"no step was timed: building and compiling {name} takes longer than {SECONDS:.0f} seconds here. The times "
            "are estimated from its multiply-adds, and may be wrong by a factor of three"
        )
    else:
        request.progress.note(f"the times are estimated from the multiply-adds of {name} and a small timed step")
    split, classes = surveyed.split, len(surveyed.split.class_names)
    timing = rough_timing.rough_timing(recipe, classes, split.counts()["train"], facts)
    per_image = read / max(len(surveyed.indices), 1)
    start = facts.start_seconds or rough_timing.START_SECONDS
    if not decodes:
        start = time.monotonic() - request.begun
    elif request.time_budget is not None:
        # A run with a budget plans as well.
        start += time.monotonic() - request.begun - read
    return PlanInputs(split, len(surveyed.skipped), refits(recipe, split), start, per_image, timing, weights)


def plan_for_budget(request: TrainingRequest, recipe: FinetuneRecipe, backbone: Any) -> tuple[FinetuneRecipe, Plan]:
    """Return a resolved recipe with the epochs that fit into the time budget of a run, and its plan.

    The backbone (keras.Model) is left unchanged.
    """
    assert request.time_budget is not None
    # The run reports warnings about the split, so that they appear once.
    silent, weights = request.silent(), required_weights(recipe)
    with request.progress.track("timing the training on a few images", None):
        if rough_timing.profiled_batches(recipe, 1):
            inputs = measure_inputs(request, recipe, backbone, survey(silent, recipe, decodes=False), weights)
        else:
            inputs = _estimated(silent, recipe, weights, decodes=False)
    return _fit_budget(request, recipe, inputs, request.time_budget)


def _fit_budget(
    request: TrainingRequest, recipe: FinetuneRecipe, inputs: PlanInputs, budget: float
) -> tuple[FinetuneRecipe, Plan]:
    planned, result = time_budget.fit_epochs(recipe, inputs, budget)
    request.progress.note(time_budget.budget_summary(recipe, planned, result, budget))
    return planned, result


def measure_inputs(
    request: TrainingRequest,
    recipe: FinetuneRecipe,
    backbone: Any,
    surveyed: Survey,
    weights: tuple[RequiredWeights, ...],
) -> PlanInputs:
    """Time the work of a recipe on a few training images."""
    from transfer_cli.training.loop.micro_batches import explain_out_of_memory
    from transfer_cli.training.planning import profiling

    split = surveyed.split
    batches = rough_timing.profiled_batches(recipe, profiling.BATCHES)
    per_image, sample = _sample(request, recipe, surveyed, max(batches, 1) * recipe.step_size)
    with explain_out_of_memory():
        timing = profiling.profile(backbone, recipe, split, sample, request.progress)
    start = time.monotonic() - request.begun
    return PlanInputs(split, len(surveyed.skipped), refits(recipe, split), start, per_image, timing, weights)


def _sample(
    request: TrainingRequest, recipe: FinetuneRecipe, surveyed: Survey, count: int
) -> tuple[float, TrainingData]:
    """Return the seconds to read an image, and a few training images of all classes."""
    split, truth = surveyed.split, surveyed.split.truth()
    train = np.flatnonzero(split.mask("train"))
    in_turn = _classes_in_turn(train.tolist(), [split.rows[row].truth for row in train])
    selected = in_turn[:count]
    begun = time.monotonic()
    decoded, rows = decode_rows(request, recipe, surveyed, selected)
    per_image = (time.monotonic() - begun) / len(selected)
    if not rows:
        raise FolderError(
            f"None of the first {counted(len(selected), 'training image')} of {request.folder.source} is readable."
        )
    every = np.arange(len(rows))
    val = every[: recipe.batch_size if "val" in split.counts() else 0]
    return per_image, TrainingData(decoded.images, np.array(decoded.indices, np.int64), truth[rows], every, val)


def required_weights(recipe: FinetuneRecipe) -> tuple[RequiredWeights, ...]:
    """Return the files of pretrained weights that a resolved recipe needs."""
    if recipe.backbone.weights != "imagenet":
        return ()
    spec = recipe.spec
    files = []
    for file in feature_files(spec, recipe.backbone.layer, size=recipe.image_size):
        downloaded = is_installed(file)
        path = cache_folder() / file.name
        size = path.stat().st_size / 1e6 if downloaded else spec.parameters_below_top * 4 / 1e6
        files.append(RequiredWeights(file.name, round(size, 1), downloaded))
    return tuple(files)


def _classes_in_turn(rows: Iterable[int], classes: Iterable[str]) -> list[int]:
    """Return the rows with one of each class first, then a second of each, and so on."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, name in zip(rows, classes, strict=True):
        members[name].append(row)
    return [row for turn in zip_longest(*members.values()) for row in turn if row is not None]
